"""Weight layouts: which element lies where, what the kernels may read, and on which boundary memory starts."""

from __future__ import annotations

import numpy as np
import pytest

import fastdw
from fastdw.call import bind
from fastdw.gather import gather
from fastdw.kernels.panels import panels_for
from fastdw.kernels.spec import Blocking, Plan
from fastdw.machine import Machine, host
from fastdw.packing import ALIGNMENT_BYTES, BLANK, BLANK_ADDRESS, Panels, aligned_empty, aligned_zeros
from fastdw.problem import POINTWISE
from fastdw.tile import TileShape

MACHINES = [
    Machine("avx512", "x86_64", frozenset({"fma", "avx2", "avx512f", "avx512vl"}), 2, None, None),
    Machine("zen 4", "x86_64", frozenset({"fma", "avx2", "avx512f", "avx512vl"}), 2, None, None, ("25-17",)),
    Machine("avx2", "x86_64", frozenset({"fma", "avx2"}), 2, None, None),
    Machine("sse", "x86_64", frozenset({"sse2"}), 2, None, None),
    Machine("neon", "aarch64", frozenset({"asimd"}), 2, None, None),
]
rng = np.random.default_rng(0)


def numbered(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


# ---- memory ----
@pytest.mark.parametrize("shape", [1, 7, 1000, (3, 5), (1, 1, 1), (2, 9, 9, 5)])
def test_allocated_memory_starts_on_a_cache_line(shape):
    arrays = [aligned_empty(shape) for _ in range(20)] + [aligned_zeros(shape) for _ in range(20)]
    for array in arrays:
        assert array.ctypes.data % ALIGNMENT_BYTES == 0
        assert array.dtype == np.float32
        assert array.shape == (shape if isinstance(shape, tuple) else (shape,))
        assert array.flags.c_contiguous
        assert array.flags.writeable
        array[...] = 1  # the last element lies inside the memory that the array owns
    assert not aligned_zeros(shape).any()


def test_memory_lives_as_long_as_its_array():
    array = aligned_zeros(1000)[10:]
    others = [aligned_empty(1000) for _ in range(50)]
    for other in others:
        other.fill(1)
    assert not array.any()


def test_blank_is_zero_aligned_and_read_only():
    assert not BLANK.any()
    assert BLANK.ctypes.data == BLANK_ADDRESS
    assert BLANK_ADDRESS % ALIGNMENT_BYTES == 0
    assert not BLANK.flags.writeable


# ---- panels ----
@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_panels_cover_every_column_and_no_other(machine):
    for columns in [*range(1, 200), 1000, 1001]:
        panels = panels_for(columns, machine)
        indices = panels.indices()
        assert indices.shape == (panels.count, panels.width)
        assert set(indices.ravel()) == set(range(columns)), panels
        assert panels.lanes <= min(columns, machine.lanes)
        assert (np.diff(indices.reshape(-1, panels.lanes), axis=1) == 1).all(), "a vector is not of neighbouring columns"
        starts = indices[:, 0]
        assert (starts[:-1] == np.arange(panels.count - 1) * panels.width).all()
        assert starts[-1] == (panels.last if panels.count > 1 else 0)
        follow = np.minimum(np.arange(panels.vecs) * panels.lanes, panels.last_vec)
        assert (indices[:, :: panels.lanes] == starts[:, None] + follow).all()


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_full_vectors_wherever_columns_fill_them(machine):
    for columns in range(4, 200):
        lanes = panels_for(columns, machine).lanes
        assert lanes == machine.lanes or 2 * lanes > columns or (machine.is_halved and lanes == 8)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_no_columns_are_computed_twice_where_some_panel_divides_them(machine):
    most = {16: 6, 8: 3, 4: 2 if not machine.is_fused else 6}[machine.lanes]
    for columns in [vecs * machine.lanes for vecs in range(1, most + 1)]:
        assert panels_for(columns, machine).count * panels_for(columns, machine).width == columns


def test_eight_lanes_only_where_sixteen_take_twice_as_long():
    avx512, zen4 = MACHINES[:2]
    assert [(panels.vecs, panels.lanes) for panels in (panels_for(40, machine) for machine in (avx512, zen4))] == [(3, 16), (5, 8)]
    assert panels_for(64, zen4) == panels_for(64, avx512) == Panels(64, 2, 16)


def test_overlapping_vectors():
    panels = Panels(24, 2, 16)
    assert (panels.count, panels.last, panels.last_vec) == (1, 0, 8)
    np.testing.assert_array_equal(panels.indices(), [[*range(16), *range(8, 24)]])


def test_last_panel_steps_back():
    panels = Panels(70, 2, 16)
    assert (panels.count, panels.last, panels.last_vec) == (3, 38, 16)
    np.testing.assert_array_equal(panels.indices()[:, 0], [0, 32, 38])


# ---- packed weights ----
@pytest.mark.parametrize("columns", [4, 7, 16, 24, 31, 32, 33, 64, 100])
@pytest.mark.parametrize("shape", [(9,), (1, 1, 9)], ids=["matrix", "1x1 kernel"])
def test_packed_pointwise_weights_lie_where_the_diagram_says(columns, shape):
    weight = numbered(*shape, columns)
    check_panels(fastdw.pack_pointwise(weight), weight.reshape(9, columns))


@pytest.mark.parametrize("columns", [4, 24, 33, 64])
def test_packed_regular_weights_lie_where_the_diagram_says(columns):
    weight = numbered(3, 2, 5, columns)
    check_panels(fastdw.pack_conv2d(weight), weight.reshape(30, columns))


def check_panels(packed, matrix: np.ndarray) -> None:
    depth, columns = matrix.shape
    indices = panels_for(columns, host()).indices()
    assert packed.panel == indices.shape[1]
    assert packed.data.ctypes.data % ALIGNMENT_BYTES == 0
    depth_step, panel_step = packed.strides
    for panel, row in np.ndindex(len(indices), depth):
        first = (panel * panel_step + row * depth_step) // 4
        np.testing.assert_array_equal(packed.data.reshape(-1)[first : first + packed.panel], matrix[row, indices[panel]])


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_columns_too_few_for_a_panel_are_packed_all_the_same(columns):
    x, weight = rng.standard_normal((1, 4, 5, 6), np.float32), rng.standard_normal((6, columns), np.float32)
    np.testing.assert_array_equal(fastdw.pointwise_conv2d(x, fastdw.pack_pointwise(weight)), fastdw.pointwise_conv2d(x, weight))


@pytest.mark.parametrize("shape", [(3, 3, 5), (3, 3, 5, 1), (2, 4, 6, 3), (1, 1, 64), (5, 5, 128, 1)])
def test_packed_depthwise_taps_lie_on_cache_lines_of_their_own(shape):
    weight = numbered(*shape)
    packed = fastdw.pack_depthwise(weight)
    row_step, tap_step = packed.strides
    assert packed.data.ctypes.data % ALIGNMENT_BYTES == 0
    assert tap_step % (2 * ALIGNMENT_BYTES) == ALIGNMENT_BYTES, "an odd number of lines"
    assert row_step == shape[1] * tap_step
    channels = int(np.prod(shape[2:]))
    for p, q in np.ndindex(*shape[:2]):
        first = (p * row_step + q * tap_step) // 4
        np.testing.assert_array_equal(packed.data.reshape(-1)[first : first + channels], weight[p, q].ravel())


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_layout_of_the_raw_weight_does_not_matter(order):
    weight = np.asarray(numbered(3, 3, 5, 24), order=order)
    spread = np.repeat(weight, 2, axis=3)[..., ::2]
    np.testing.assert_array_equal(fastdw.pack_conv2d(weight).data, fastdw.pack_conv2d(spread).data)
    np.testing.assert_array_equal(fastdw.pack_depthwise(weight).data, fastdw.pack_depthwise(spread).data)


def test_packed_weights_state_their_size():
    packed = fastdw.pack_pointwise(numbered(9, 70))
    assert packed.nbytes == packed.data.nbytes >= 4 * 9 * 70
    assert packed.shape == (9, 70)
    assert packed.kind == "pointwise"


def test_the_reference_kernel_reads_panels_too():
    plan = lambda problem, threads: Plan(problem, "reference_pointwise", TileShape(1, 1, 1, 1), Blocking(1, 1 << 30))  # noqa: E731
    x = rng.standard_normal((1, 2, 2, 5), np.float32)
    for columns in range(1, 100):
        weight = rng.standard_normal((5, columns), np.float32)
        request, *arrays = gather(POINTWISE, x, fastdw.pack_pointwise(weight))
        assert np.array_equal(bind(request, plan)(*arrays), fastdw.pointwise_conv2d(x, weight)), columns
