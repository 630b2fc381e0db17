"""The activations against float64, against their meaning in NumPy, and at the ends of the numbers."""

from __future__ import annotations

import ctypes
from functools import cached_property

import numpy as np
import oracle
import pytest
import stated_order

from fastdw import jit
from fastdw.machine import host
from fastdw.tile import Context, TileShape, activate, load, operations, store, view
from fastdw.tile.activations import FUNCTIONS

LANES = host().lanes
CONTEXT = Context("vectors")
EVERY_NTH = 4099  # of all bit patterns, in the usual run: a prime
CHUNK = 1 << 24
SPECIAL = np.float32([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan])


class Uncached(jit.Task):
    """The kernel cache knows fastdw's sources, not those of a test."""

    @cached_property
    def dispatcher(self):
        return jit._dispatcher(self.function, cached=False)


@Uncached
def activate_all(shape, context, index):
    c = view(CONTEXT, context)
    for at in range(c.vectors):
        x = load(shape, c.x + at * 4 * shape.width, 0, 0, 4 * shape.lanes)
        store(activate(shape, x, 0, 0), c.out + at * 4 * shape.width, 0, 0, 4 * shape.lanes)


def compiled(name: str, x: np.ndarray) -> np.ndarray:
    """An activation of any number of values, in vectors."""
    shape = TileShape(1, 1, 1, LANES, activation=name)
    padded = np.zeros(-(-x.size // LANES) * LANES, np.float32)
    padded[: x.size] = x
    out = np.empty_like(padded)
    context = CONTEXT.pack({"vectors": padded.size // LANES})
    context[0], context[4] = padded.ctypes.data, out.ctypes.data
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(activate_all.pointer(shape))(None, context.ctypes.data, 0)
    return out[: x.size]


def meaning(name: str, x: np.ndarray) -> np.ndarray:
    return activate(TileShape(1, 1, 1, 1, activation=name), x, 0, 0)


def patterns(start: int, stop: int, step: int) -> np.ndarray:
    """The float32 numbers of these bits."""
    return np.arange(start, stop, step, dtype=np.int64).astype(np.uint32).view(np.float32)


def dense_sample() -> np.ndarray:
    """Of all numbers, every so many-th; the ends of the numbers; and many of ordinary size."""
    ordinary = np.random.default_rng(0).normal(0, 3, 200_000).astype(np.float32)
    return np.concatenate([patterns(0, 1 << 32, EVERY_NTH), SPECIAL, ordinary, np.linspace(-120, 120, 200_001, dtype=np.float32)])


def check_budget(name: str, x: np.ndarray) -> None:
    finite = x[np.isfinite(x)]
    got, reference = compiled(name, finite), oracle.FUNCTIONS[name](finite.astype(np.float64))
    worst = np.abs(got - reference) / oracle.activation_error(name, reference)
    worst[np.isnan(worst)] = np.inf
    at = worst.argmax()
    assert worst[at] <= 1, f"{name}({finite[at]!r}) gives {got[at]!r}, expected {reference[at]!r}: {worst[at]:.2f} of its budget"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_within_the_stated_budget(name):
    check_budget(name, dense_sample())


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_float_is_within_the_stated_budget(name):
    for start in range(0, 1 << 32, CHUNK):
        check_budget(name, patterns(start, start + CHUNK, 1))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_meaning_and_machine_code_give_the_same_bits(name, monkeypatch):
    if stated_order.multiply_add is stated_order.multiply_then_add:
        monkeypatch.setattr(operations, "fused_multiply_add", stated_order.multiply_then_add)
    x = dense_sample()[::7]
    got, meant = compiled(name, x), meaning(name, x)
    stated_order.check_bits(got, meant, name)
