"""For which filters random problems use depthwise kernels: few, since each compiles kernels of its own, but every kernel there is."""

from __future__ import annotations

from typing import NamedTuple

ANY, FEW, FOUR, EIGHT, WIDE = (1, 150), (1, 3), (4, 7), (8, 15), (16, 150)


class Window(NamedTuple):
    """What a depthwise kernel is compiled for, beside its tile: the columns of its filter, and what its vectors hold."""

    taps: int
    stride: int = 1
    dilation: int = 1
    multiplier: int = 1
    channels: tuple[int, int] = WIDE  # of the result, at least and at most


USUAL_WINDOWS = (Window(3), Window(3, 2), Window(3, channels=ANY), Window(5))
WINDOWS = (
    *USUAL_WINDOWS,
    *(Window(3, channels=EIGHT), Window(3, 2, channels=FOUR), Window(5, channels=EIGHT)),
    *(Window(1), Window(2, channels=EIGHT), Window(4, 2, channels=FOUR), Window(5, 2), Window(7)),
    *(Window(3, channels=FEW), Window(5, 2, channels=FEW), Window(3, 1, 2, channels=FEW)),
    *(Window(3, 1, 2), Window(3, 1, 3), Window(3, 2, 4), Window(3, 2, 3, channels=EIGHT)),  # outputs in phases
    *(Window(3, 3, channels=EIGHT), Window(3, 5, channels=FOUR)),  # large strides
    *(Window(9), Window(8, 2, channels=EIGHT), Window(31, channels=FOUR)),  # filters in chunks
    *(Window(3, multiplier=2), Window(5, 2, 1, 2, EIGHT), Window(3, multiplier=3), Window(3, 1, 2, 8), Window(1, multiplier=17)),
)
