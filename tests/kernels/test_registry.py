"""Every tile of every kernel gives the stated bits, whatever the size, blocking, threads, batch and weight layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import stated_order
from tiles import SMALLER, Case, NotServed, TileNotOffered, cases, kernel_tiles, tile_id

from fastdw.kernels.spec import registry
from fastdw.problem import CONV, DEPTHWISE, POINTWISE, POOL

CANARY = np.uint32(0x7FC0DEAD).view(np.float32)  # a NaN that no kernel makes
BLOCKINGS = 3  # tried with each size; over the sizes of a tile they go round all that there are
KERNEL_TILES = kernel_tiles()


def test_every_kind_of_problem_has_a_kernel_and_every_kernel_a_tile():
    assert {spec.kind for spec in registry().values()} == {DEPTHWISE, POINTWISE, CONV, POOL}
    assert {spec.name for spec, _ in KERNEL_TILES} == registry().keys()


@pytest.mark.parametrize(("spec", "tile"), KERNEL_TILES, ids=tile_id)
def test_tile(spec, tile):
    n_checked = 0
    for number, case in enumerate(cases(spec, tile)):
        for one, keywords in ways(case, number):
            try:
                run_and_check(one, (inside_rows if tile.period else inside_an_image, inside_a_line)[number % 2], keywords)
            except NotServed:
                continue
            except TileNotOffered:
                assert case.size == SMALLER, f"{one} is not offered the tile"
            else:
                n_checked += 1
    assert n_checked, "no case has this tile"


def ways(case: Case, number: int) -> Iterator[tuple[Case, dict]]:
    for blocking in range(number * BLOCKINGS, (number + 1) * BLOCKINGS):
        for is_packed in (False, True) if case.weight is not None else (False,):
            for threads in (1, 2):
                yield case, {"blocking": blocking, "is_packed": is_packed, "threads": threads}
    for n in range(len(case.x)):
        yield case.image(n), {"blocking": number}


def run_and_check(case: Case, make_out: Callable, keywords: dict) -> None:
    """The right bits in out, and nothing written beside it."""
    buffer, out = make_out(case.out_shape)
    call = case.bind(out, **keywords)
    assert call(*case.arrays(keywords.get("is_packed", False)), out) is out
    what = f"{case}, {keywords}, {call.plan.blocking}"
    stated_order.check_bits(out, case.expected, what)
    out[...] = CANARY
    assert (buffer.view(np.uint32) == CANARY.view(np.uint32)).all(), f"written outside out: {what}"


def inside_rows(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """For a kernel that takes only pixels without a gap."""
    return inside_an_image(shape, 0)


def inside_an_image(shape: tuple[int, ...], channels: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """A larger array full of canaries, and its middle."""
    margins = (*([1] * (len(shape) - 1)), channels)
    buffer = np.full([extent + 2 * margin for extent, margin in zip(shape, margins, strict=True)], CANARY)
    return buffer, buffer[tuple(slice(margin, margin + extent) for margin, extent in zip(margins, shape, strict=True))]


def inside_a_line(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A contiguous array with canaries before and after, off every alignment but that of one element."""
    count = int(np.prod(shape))
    buffer = np.full(count + 70, CANARY)
    return buffer, buffer[33 : 33 + count].reshape(shape)
