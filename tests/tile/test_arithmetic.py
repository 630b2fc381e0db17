"""Arithmetic on tiles: the compiled code gives the bits of the NumPy meaning, and the functions keep their stated error."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from uncached import Uncached

from fastdw.machine import host
from fastdw.tile import Context, TileShape, exp, larger, load, multiply, reciprocal, store, subtract, view

CONTEXT = Context("step")
SHAPE = TileShape(2, 1, 1, host().lanes)
COUNT = SHAPE.rows * SHAPE.lanes

OPERATIONS = {"exp", "larger", "multiply", "reciprocal", "subtract"}


@Uncached
def compute(shape, context, index):
    c = view(CONTEXT, context)
    x = load(shape, c.x, c.step, 0, 0)
    other = load(shape, c.weight, c.step, 0, 0)
    for k, y in enumerate((multiply(x, other), subtract(x, other), larger(x, other), exp(x), reciprocal(x))):
        store(y, c.out + 2 * k * c.step, c.step, 0, 0)


def results(x: np.ndarray, other: np.ndarray, compiled: bool) -> np.ndarray:
    out = np.full((5, COUNT), np.nan, np.float32)
    context = CONTEXT.pack({"step": 4 * SHAPE.lanes})
    context[0], context[1], context[4] = x.ctypes.data, other.ctypes.data, out.ctypes.data
    if compiled:
        function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(compute.pointer(SHAPE))
        function(None, context.ctypes.data, 0)
    else:
        compute(SHAPE, context.ctypes.data, 0)
    return out


@pytest.mark.parametrize("seed", range(20))
def test_the_bits_of_the_meaning(seed):
    random = np.random.default_rng(seed)
    x, other = (random.standard_normal(COUNT).astype(np.float32) * np.float32(10.0 ** random.integers(-3, 3)) for _ in range(2))
    x[seed % COUNT] = (np.inf, -np.inf, np.nan, 0.0, -0.0)[seed % 5]
    found, expected = results(x, other, True), results(x, other, False)
    same = (found.view(np.int32) == expected.view(np.int32)) | (np.isnan(found) & np.isnan(expected))
    assert same.all(), (found[~same], expected[~same])


@pytest.mark.parametrize("seed", range(20))
def test_errors(seed):
    x = np.random.default_rng(seed).uniform(-87, 20, COUNT).astype(np.float32)
    powers, reciprocals = results(x, x, True)[3:]
    np.testing.assert_allclose(powers, np.exp(x.astype(np.float64)), rtol=2 * 2**-23)
    np.testing.assert_allclose(reciprocals[x > 0], 1 / x[x > 0].astype(np.float64), rtol=2**-23)


def test_exp_of_what_is_too_small_is_zero():
    x = np.full(COUNT, -88, np.float32)
    x[0], x[1] = -np.inf, -1e30
    assert (results(x, x, True)[3] == 0).all()
