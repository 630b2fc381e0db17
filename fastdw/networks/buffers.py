"""One arena for the values between layers: two values share memory where they are never needed together."""

from __future__ import annotations

from dataclasses import dataclass

ALIGNMENT = 16  # floats: 64 bytes


@dataclass
class Lifetime:
    """A value of n_floats, written by step `first` and last read by step `last`."""

    n_floats: int
    first: int
    last: int

    def overlaps(self, other: Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


def place(values: dict[str, Lifetime]) -> tuple[dict[str, int], int]:
    """The offset of each value in floats, and the size of the arena: largest first, each at the lowest place that is free all its life."""
    offsets: dict[str, int] = {}
    total = 0
    for name, value in sorted(values.items(), key=lambda item: -item[1].n_floats):
        size = -(-value.n_floats // ALIGNMENT) * ALIGNMENT
        offset = 0
        for other in sorted((placed for placed in offsets if values[placed].overlaps(value)), key=offsets.__getitem__):
            if offset + size <= offsets[other]:
                break
            offset = max(offset, offsets[other] + -(-values[other].n_floats // ALIGNMENT) * ALIGNMENT)
        offsets[name] = offset
        total = max(total, offset + size)
    return offsets, total
