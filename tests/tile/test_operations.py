"""Every tile operation, compiled, does to the bit what it means in NumPy."""

from __future__ import annotations

import ctypes
from fractions import Fraction

import numpy as np
import pytest
import stated_order
import test_arithmetic
import test_memory
from uncached import Uncached

import fastdw.tile
from fastdw.kernels.spec import float_bits
from fastdw.machine import host
from fastdw.packing import BLANK_ADDRESS
from fastdw.tile import (
    SCRATCH_BYTES,
    Context,
    TileShape,
    activate,
    add,
    arithmetic,
    divide,
    last_taps,
    load,
    load_period,
    load_pixel,
    load_pixels,
    load_row,
    load_run,
    load_run_clipped,
    load_taps,
    load_window,
    load_window_clipped,
    memory,
    narrower,
    one_row,
    operations,
    outer_fma,
    outer_fma_clipped,
    outer_fma_deep,
    positive_zero,
    scratch,
    slide_fma,
    slide_row,
    store,
    view,
    without_left,
    without_repeats,
    without_right,
    zeros,
)
from fastdw.tile.lowering import LOWERINGS
from fastdw.tile.operations import Operation, fused_multiply_add

LANES = host().lanes
SHAPES = [
    TileShape(1, 1, 1, 1, 1, 1),
    TileShape(2, 3, 2, LANES, 3, 1),
    TileShape(3, 2, 1, LANES, 2, 2),
    TileShape(1, 4, 2, LANES // 2, 5, 2),
    TileShape(2, 3, 2, LANES, 3, 1, rest=2, expand=2),
    TileShape(1, 4, 3, LANES, 2, 2, rest=1, expand=3),
    TileShape(1, 2, 5, LANES // 2, 4, 3, rest=3, expand=5),
    TileShape(2, 2, 2, LANES, 3, 1, expand=8),
    TileShape(2, 2, 1, LANES, 3, 2, rest=1, expand=0),
]
DEEP = [TileShape(2, 3, 2, LANES, depth=4), TileShape(1, 5, 1, LANES, depth=1), TileShape(1, 2, 3, LANES // 2, depth=8)]
EDGES = [  # of the image
    TileShape(1, 7, 2, LANES, 3, 1, left=1, right=1, whole=True),
    TileShape(2, 4, 1, LANES, 5, 2, left=2, right=1),
    TileShape(1, 3, 1, LANES, 7, 1, left=3, right=3, whole=True),
    TileShape(1, 4, 2, LANES, 3, 1, left=1, right=1, whole=True, uneven=True),
    TileShape(2, 2, 3, LANES // 2, 2, 1, left=3, right=0, whole=True),
]
RUNS = [  # along rows of pixels
    TileShape(1, 1, 1, LANES, stride=1, period=1),
    TileShape(2, 1, 2, LANES, stride=2, period=1),
    TileShape(4, 1, 1, LANES, stride=2, period=2),
    TileShape(1, 1, 3, LANES, stride=1, period=3),
    TileShape(2, 1, 3, 4, stride=2, period=3),
    TileShape(1, 1, 3, LANES, stride=3, period=3),
    TileShape(1, 1, 1, LANES, stride=4, period=1),
]
CONTEXT = Context(
    *("row_step", "col_step", "last_vec", "out_row", "out_col", "out_last"),
    *("row", "row_stride", "height", "col", "col_stride", "dilation", "width", "blank", "position", "length"),
    *("count", "low", "high"),
)


# ---- one task an operation ----
TASKS: dict[str, Uncached] = {}


def task(function) -> Uncached:
    TASKS[function.__name__.removeprefix("task_")] = Uncached(function)


@task
def task_zeros(shape, context, index):
    c = view(CONTEXT, context)
    store(zeros(shape), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_load(shape, context, index):
    c = view(CONTEXT, context)
    store(load(shape, c.x, c.row_step, c.col_step, c.last_vec), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_store(shape, context, index):
    c = view(CONTEXT, context)
    store(load(shape, c.x, c.out_row, c.out_col, c.out_last), c.out, c.row_step, c.col_step, c.last_vec)


@task
def task_load_row(shape, context, index):
    c = view(CONTEXT, context)
    store(load_row(shape, c.x, c.last_vec), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_load_taps(shape, context, index):
    c = view(CONTEXT, context)
    store(load_taps(shape, c.x, c.col_step), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_load_window(shape, context, index):
    c = view(CONTEXT, context)
    store(load_window(shape, c.x, c.row_step, c.col_step), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_load_window_clipped(shape, context, index):
    c = view(CONTEXT, context)
    window = load_window_clipped(shape, c.x, c.row_step, c.col_step, c.row, c.row_stride, c.height, c.col, c.width, c.blank)
    store(window, c.out, c.out_row, c.out_col, c.out_last)


@task
def task_last_taps(shape, context, index):
    c = view(CONTEXT, context)
    rest = last_taps(shape)
    acc = load(shape, c.residual, c.row_step, c.col_step, c.last_vec)
    acc = slide_fma(rest, acc, load_window(rest, c.x, c.row_step, c.col_step), load_taps(rest, c.weight, c.col_step))
    store(acc, c.out, c.out_row, c.out_col, c.out_last)


@task
def task_without_repeats(shape, context, index):
    c = view(CONTEXT, context)
    store(load_window(without_repeats(shape), c.x, c.row_step, c.col_step), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_load_pixel(shape, context, index):
    c = view(CONTEXT, context)
    store(load_pixel(shape, c.x), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_load_pixels(shape, context, index):
    c = view(CONTEXT, context)
    store(load_pixels(shape, c.x, c.col_step), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_scratch(shape, context, index):
    c = view(CONTEXT, context)
    block = scratch(shape)
    for at in range(0, SCRATCH_BYTES, 4 * shape.lanes):
        store(load_row(shape, c.x, 0), block + at, 0, 0, 0)
    if block % 64 == 0:
        store(load_row(shape, block + SCRATCH_BYTES - 4 * shape.lanes, 0), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_load_run(shape, context, index):
    c = view(CONTEXT, context)
    store(load_run(shape, c.x, c.row_step), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_load_run_clipped(shape, context, index):
    c = view(CONTEXT, context)
    run = load_run_clipped(shape, c.x, c.row_step, c.row, c.row_stride, c.height, c.position, c.length, c.blank)
    store(run, c.out, c.out_row, c.out_col, c.out_last)


@task
def task_load_period(shape, context, index):
    c = view(CONTEXT, context)
    store(load_period(shape, c.x), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_slide_fma(shape, context, index):
    c = view(CONTEXT, context)
    acc = load(shape, c.residual, c.row_step, c.col_step, c.last_vec)
    acc = slide_fma(shape, acc, load_window(shape, c.x, c.row_step, c.col_step), load_taps(shape, c.weight, c.col_step))
    store(acc, c.out, c.out_row, c.out_col, c.out_last)


@task
def task_slide_row(shape, context, index):
    c = view(CONTEXT, context)
    acc = load(shape, c.residual, c.row_step, c.col_step, c.last_vec)
    acc = slide_row(shape, acc, c.x, c.row_step, c.col_step, c.weight, c.col_step)
    store(acc, c.out, c.out_row, c.out_col, c.out_last)


@task
def task_without_left(shape, context, index):
    c = view(CONTEXT, context)
    part = without_left(shape)
    store(slide_row(part, zeros(part), c.x, c.row_step, c.col_step, c.weight, c.col_step), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_without_right(shape, context, index):
    c = view(CONTEXT, context)
    part = without_right(shape)
    store(slide_row(part, zeros(part), c.x, c.row_step, c.col_step, c.weight, c.col_step), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_one_row(shape, context, index):
    c = view(CONTEXT, context)
    part = one_row(shape)
    store(slide_row(part, zeros(part), c.x, c.row_step, c.col_step, c.weight, c.col_step), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_narrower(shape, context, index):
    c = view(CONTEXT, context)
    part = narrower(shape)
    store(slide_row(part, zeros(part), c.x, c.row_step, c.col_step, c.weight, c.col_step), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_outer_fma(shape, context, index):
    c = view(CONTEXT, context)
    acc = load(shape, c.residual, c.row_step, c.col_step, c.last_vec)
    store(outer_fma(acc, c.x, c.col_step, load_row(shape, c.weight, c.last_vec)), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_outer_fma_deep(shape, context, index):
    c = view(CONTEXT, context)
    acc = load(shape, c.residual, c.row_step, c.col_step, c.last_vec)
    acc = outer_fma_deep(shape, acc, c.x, c.col_step, c.weight, c.row_step, c.last_vec)
    store(acc, c.out, c.out_row, c.out_col, c.out_last)


@task
def task_outer_fma_clipped(shape, context, index):
    c = view(CONTEXT, context)
    acc = load(shape, c.residual, c.row_step, c.col_step, c.last_vec)
    row = load_row(shape, c.weight, c.last_vec)
    store(outer_fma_clipped(acc, c.x, c.col_step, row, c.col, c.col_stride, c.width, c.blank), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_add(shape, context, index):
    c = view(CONTEXT, context)
    tile = load(shape, c.x, c.row_step, c.col_step, c.last_vec)
    tile = add(tile, load(shape, c.residual, c.row_step, c.col_step, c.last_vec))
    store(add(tile, load_row(shape, c.weight, c.last_vec)), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_divide(shape, context, index):
    c = view(CONTEXT, context)
    store(divide(load(shape, c.x, c.row_step, c.col_step, c.last_vec), c.count), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_positive_zero(shape, context, index):
    c = view(CONTEXT, context)
    store(positive_zero(load(shape, c.x, c.row_step, c.col_step, c.last_vec)), c.out, c.out_row, c.out_col, c.out_last)


@task
def task_activate(shape, context, index):
    c = view(CONTEXT, context)
    store(activate(shape, load(shape, c.x, c.row_step, c.col_step, c.last_vec), c.low, c.high), c.out, c.out_row, c.out_col, c.out_last)


FULL_CONTEXT = Context(*(f"field{i}" for i in range(59)))


@task
def task_view(shape, context, index):
    c = view(FULL_CONTEXT, context)
    store(zeros(shape), c.out + 4 * (c.field0 + 2 * c.field7 + 3 * c.field58), 0, 0, 0)


def test_every_operation_has_a_meaning_a_lowering_a_public_name_and_a_test():
    meanings = {
        name
        for module in (operations, arithmetic, memory, fastdw.tile.run)
        for name, value in vars(module).items()
        if isinstance(value, Operation)
    }
    assert meanings == LOWERINGS.keys() == TASKS.keys() | test_memory.OPERATIONS | test_arithmetic.OPERATIONS
    assert meanings <= set(fastdw.tile.__all__)


# ---- meaning against machine code ----
SPECIAL = np.float32([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 2.0**-149, -(2.0**-149), 2.0**-126, -(2.0**-130), 3.4e38, -3.4e38, 1.0])
STEPS = [  # row, column, vector: in floats
    (300, 40, 20),
    (37, 301, 71),  # interleaved
    (-90, -40, 19),  # backwards
    (0, 0, 0),
]
ALONG_ROWS = {"load_run", "load_run_clipped", "load_period"}
MOVES = {
    "load_pixel",
    "load_pixels",
    "scratch",
    "zeros",
    "load",
    "store",
    "load_row",
    "load_taps",
    "load_window",
    "load_window_clipped",
    "view",
} | ALONG_ROWS


@pytest.fixture(autouse=True)
def rounds_like_this_machine(monkeypatch):
    """Twice, where the CPU has no fused multiply-add."""
    if stated_order.multiply_add is stated_order.multiply_then_add:
        monkeypatch.setattr(operations, "fused_multiply_add", stated_order.multiply_then_add)


def values(rng: np.random.Generator, count: int) -> np.ndarray:
    """Of all magnitudes, every third one special."""
    ordinary = rng.standard_normal(count, np.float32) * np.float32(2) ** rng.integers(-70, 60, count)
    return np.where(rng.random(count) < 1 / 3, rng.choice(SPECIAL, count), ordinary.astype(np.float32))


def fields(steps: tuple[int, int, int], variant: int) -> dict[str, int]:
    row, col, vec = (4 * step for step in steps)
    low, high = ((-np.inf, np.inf), (0.0, 6.0), (-0.0, 0.0), (-1e-3, 1e30))[variant]
    return {
        "row_step": row,
        "col_step": col,
        "last_vec": vec,
        "out_row": 4 * 700,
        "out_col": 4 * 70,
        "out_last": 4 * 33,
        "row": (-1, 0, 2, 5)[variant],
        "row_stride": (1, 2, 1, 3)[variant],
        "height": (2, 4, 3, 5)[variant],
        "col": (-2, 1, 0, -9)[variant],
        "col_stride": (1, 2, 1, 3)[variant],
        "dilation": (1, 2, 3, 4)[variant],
        "width": (3, 2, 9, 4)[variant],
        "blank": BLANK_ADDRESS,
        "position": (-3, 2, -100, -7)[variant],
        "length": (LANES, 3 * LANES, 9, LANES + 1)[variant],
        "count": (1, 49, 1 << 24 | 1, 3)[variant],
        "low": float_bits(low),
        "high": float_bits(high),
    }


def shapes_for(name: str) -> list[TileShape]:
    if name == "last_taps":
        return [shape for shape in SHAPES if shape.rest]
    if name == "scratch":
        return SHAPES[:2]
    if name == "outer_fma_deep":
        return DEEP
    if name in ("slide_row", "one_row", "narrower", "without_left", "without_right"):
        return EDGES
    return RUNS if name in ALONG_ROWS else SHAPES


@pytest.mark.parametrize(
    "change", [last_taps, without_repeats, without_left, without_right, one_row, narrower], ids=lambda change: change.__name__
)
def test_a_changed_shape_changes_all_that_follows_from_it(change):
    shape = TileShape(2, 3, 2, 4, taps=3, stride=1, rest=2, expand=2, left=1, right=1, uneven=change is narrower)
    compiled, _ = LOWERINGS[change.__name__](shape._numba_type_)
    assert compiled.fields == change(shape).constants != shape.constants


@pytest.mark.parametrize(("name", "shape"), [(name, shape) for name in TASKS for shape in shapes_for(name)], ids=str)
def test_compiled_operation(name, shape):
    for variant, steps in enumerate(STEPS):
        rng = np.random.default_rng(variant)
        context = FULL_CONTEXT if name == "view" else CONTEXT
        given = {f"field{i}": i + variant for i in range(59)} if name == "view" else fields(steps, variant)
        template = context.pack(given)
        inputs = [values(rng, 6000) for _ in range(4)]
        meant, compiled = (np.full(6000, -7, np.float32) for _ in range(2))
        run(template, inputs, meant, lambda address: TASKS[name](shape, address, 0))
        run(template, inputs, compiled, lambda address: call_machine_code(TASKS[name], shape, address))
        what = f"{name} {shape}, variant {variant}"
        if name in MOVES:
            np.testing.assert_array_equal(compiled.view(np.int32), meant.view(np.int32), err_msg=what)
        else:
            stated_order.check_bits(compiled, meant, what)
        assert (compiled != -7).any(), f"{what}: nothing is written"


def run(template: np.ndarray, inputs: list[np.ndarray], out: np.ndarray, task) -> None:
    """Every address in the middle of its array, so that steps may go either way, and off all alignments but that of one float."""
    context = template.copy()
    context[:5] = [array.ctypes.data + 4 * 1501 for array in (*inputs, out)]
    task(context.ctypes.data)


def call_machine_code(task: Uncached, shape: TileShape, address: int) -> None:
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(task.pointer(shape))(None, address, 0)


# ---- the meaning of a fused multiply-add ----
def nearest(exact: Fraction) -> np.float32:
    """Rounded once, ties to even."""
    if abs(exact) >= Fraction(2) ** 128 - Fraction(2) ** 103:
        return np.float32(np.inf if exact > 0 else -np.inf)
    close = np.float32(float(exact))
    neighbours = [close, np.nextafter(close, np.float32(-np.inf)), np.nextafter(close, np.float32(np.inf))]
    finite = [value for value in neighbours if np.isfinite(value)]
    return min(finite, key=lambda value: (abs(Fraction(float(value)) - exact), int(value.view(np.int32)) & 1))


def test_fused_multiply_add_rounds_once():
    rng = np.random.default_rng(0)
    count = 3000
    a, b = (np.ldexp(rng.standard_normal(count, np.float32), rng.integers(-72, 50, count)) for _ in range(2))
    close = np.ldexp(a.astype(np.float64) * b, rng.integers(-2, 26, count)) * rng.choice([-1, 1], count)
    c = np.where(rng.random(count) < 0.8, close.clip(-3e38, 3e38), rng.choice([0, 2.0**-149, 1, 3e38], count)).astype(np.float32)
    got = fused_multiply_add(a, b, c)
    for x, y, z, value in zip(a, b, c, got, strict=True):
        expected = nearest(Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)))
        assert value == expected, f"{x!r} * {y!r} + {z!r} gives {value!r}, expected {expected!r}"
    twice = stated_order.multiply_then_add(a, b, c)
    assert (twice != got).any(), "no case where two roundings differ"


def test_fused_multiply_add_of_specials():
    a, b, c = (grid.ravel() for grid in np.meshgrid(SPECIAL, SPECIAL, SPECIAL))
    with np.errstate(all="ignore"):
        expected = (a.astype(np.float64) * b + c).astype(np.float32)  # exact: no two of these are close enough to round twice
    stated_order.check_bits(fused_multiply_add(a, b, c), expected, "specials")
