"""Weight layouts, one diagram each, and memory that starts on a cache line.

Packing is optional: raw weights run on the same kernels with the same bits. It is worth it because it is done once:
values are checked, subnormals may be flushed, and memory is laid in the order in which it is read.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, field

import numpy as np

ALIGNMENT_BYTES = 64  # a cache line, and the widest vector


def aligned_bytes(n_bytes: int) -> int:
    """Up to the next cache line."""
    return -(-n_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def aligned_empty(shape: tuple[int, ...] | int, x_shape: tuple[int, ...] | None = None) -> np.ndarray:
    """float32, uninitialised, starting on a 64-byte boundary. x_shape: of the x of the call that needs it.

    Raises:
      ValueError: there is no memory for what that x needs.
    """
    count = math.prod(shape) if isinstance(shape, tuple) else shape
    try:
        raw = np.empty(4 * count + ALIGNMENT_BYTES, np.uint8)
    except (MemoryError, ValueError, OverflowError):  # NumPy's, for what no memory or no address holds
        if x_shape is None:
            raise
        size = f"{shape if isinstance(shape, tuple) else 'scratch'}, {4 * count:,} bytes"
        raise ValueError(f"x: got shape {x_shape}; expected a smaller one: there is no memory for {size}") from None
    address = ctypes.addressof(ctypes.c_char.from_buffer(raw.data))  # a third of the time of raw.ctypes.data
    return np.ndarray(shape, np.float32, raw, -address % ALIGNMENT_BYTES)


def aligned_zeros(shape: tuple[int, ...] | int) -> np.ndarray:
    array = aligned_empty(shape)
    array.fill(0)
    return array


BLANK = aligned_zeros(1024)  # what is read for padding and for a missing bias; nothing writes to it
BLANK.flags.writeable = False
BLANK_ADDRESS = BLANK.ctypes.data


@dataclass(frozen=True, eq=False)
class PackedWeight:
    """A weight laid out for the kernels: made by pack_*, passed instead of the raw array."""

    kind: str  # what it may be passed to: depthwise, pointwise or conv
    shape: tuple[int, ...]  # of the raw weight
    data: np.ndarray = field(repr=False)
    strides: tuple[int, ...]  # bytes: depthwise (filter row, filter column); panels (depth, panel)
    panel: int = 0  # columns of a panel; 0 where there are none
    lanes: int = 0  # of the vectors that a panel is cut into

    @property
    def nbytes(self) -> int:
        return self.data.nbytes


def flushed(weight: np.ndarray) -> np.ndarray:
    """Subnormal numbers, which make multiplication many times slower on x86, become zero."""
    return np.where(np.abs(weight) < np.finfo(np.float32).tiny, np.float32(0), weight)


def lay_depthwise(weight: np.ndarray) -> PackedWeight:
    """One filter tap after the other, each on cache lines of its own, an odd number of them.

    weight [kernel_h][kernel_w][out_channels]

    tap 0  | c0 c1 c2 ... | spare |      An odd number of lines, so that the taps of a tile do not meet in
    tap 1  | c0 c1 c2 ... | spare |      one set of the L1 cache when out_channels is a power of two.
    ...
    """
    kernel_h, kernel_w = weight.shape[:2]
    channels = math.prod(weight.shape[2:])
    lines = -(-4 * channels // ALIGNMENT_BYTES) | 1
    data = aligned_zeros((kernel_h, kernel_w, lines * ALIGNMENT_BYTES // 4))
    data[:, :, :channels] = weight.reshape(kernel_h, kernel_w, channels)
    data.flags.writeable = False
    return PackedWeight("depthwise", weight.shape, data, data.strides[:2])


@dataclass(frozen=True)
class Panels:
    """How columns are cut into panels of vecs vectors of lanes; the last panel steps back to end with the last column.

    Where one panel is wider than the columns its last vector steps back: 24 columns are the vectors [0, 16) and [8, 24).
    """

    columns: int
    vecs: int
    lanes: int

    @property
    def width(self) -> int:
        return self.vecs * self.lanes

    @property
    def count(self) -> int:
        return -(-self.columns // self.width)

    @property
    def last(self) -> int:
        """The first column of the last panel."""
        return max(0, self.columns - self.width)

    @property
    def last_vec(self) -> int:
        """Columns from the first vector of a panel to its last; those between follow each other."""
        return min(self.width, self.columns) - self.lanes

    def indices(self) -> np.ndarray:
        """The column of every panel's every element: [count, width]."""
        starts = np.minimum(np.arange(self.count) * self.width, self.last)
        vectors = starts[:, None] + np.minimum(np.arange(self.vecs) * self.lanes, self.last_vec)
        return (vectors[:, :, None] + np.arange(self.lanes)).reshape(self.count, self.width)


def lay_panels(kind: str, weight: np.ndarray, panels: Panels) -> PackedWeight:
    """Panels of columns, each a depth x width strip in the order in which the kernel reads it.

    weight [depth][columns], depth = kernel_h * kernel_w * in_channels

    panel 0   | row 0: n0 ... | row 1: n0 ... | ... | row depth-1 |
    panel 1   | row 0: n32 .. | row 1: n32 .. | ...
    last      | row 0: columns-width ...                               (steps back, overlaps its neighbour)
    """
    matrix = weight.reshape(-1, panels.columns)
    data = aligned_empty((panels.count, matrix.shape[0], panels.width))
    for panel, columns in zip(data, panels.indices(), strict=True):
        np.take(matrix, columns, axis=1, out=panel)
    data.flags.writeable = False
    return PackedWeight(kind, weight.shape, data, (data.strides[1], data.strides[0]), panels.width, panels.lanes)
