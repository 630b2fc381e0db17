"""One arena for the values between layers: two values share memory where they are never needed together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastdw.packing import aligned_bytes


@dataclass
class Lifetime:
    """A value of n_floats, written by step `first` and last read by step `last`."""

    n_floats: int
    first: int
    last: int

    def overlaps(self, other: Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


ORDERS: tuple[Callable[[Lifetime], tuple[int, ...]], ...] = (
    lambda value: (-value.n_floats,),
    lambda value: (-value.n_floats, -value.last),
    lambda value: (value.first - value.last, -value.n_floats),
    lambda value: (value.first,),
)


def place(values: dict[str, Lifetime]) -> tuple[dict[str, int], int]:
    """The offset of each value in floats, and the size of the arena: the smallest that one of the orders gives."""
    return min((place_in_order(values, order) for order in ORDERS), key=lambda placed: placed[1])


def place_in_order(values: dict[str, Lifetime], order: Callable[[Lifetime], tuple[int, ...]]) -> tuple[dict[str, int], int]:
    """Each at the lowest place that is free all its life."""
    offsets: dict[str, int] = {}
    total = 0
    for name, value in sorted(values.items(), key=lambda item: order(item[1])):
        size = aligned(value.n_floats)
        offset = 0
        for other in sorted((placed for placed in offsets if values[placed].overlaps(value)), key=offsets.__getitem__):
            if offset + size <= offsets[other]:
                break
            offset = max(offset, offsets[other] + aligned(values[other].n_floats))
        offsets[name] = offset
        total = max(total, offset + size)
    return offsets, total


def aligned(n_floats: int) -> int:
    return aligned_bytes(4 * n_floats) // 4
