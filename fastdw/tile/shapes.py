"""Tile shapes and contexts: what a kernel knows at compile time, and what it is told at run time.

A tile is rows x cols x vecs SIMD vectors of outputs held in registers. Its shape is a Numba type, so a kernel is a
plain function that is specialised, and cached on disk, by its signature. A context is one block of named int64 fields
(addresses, strides in bytes, extents) behind one address.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastdw.tile.activations import CLAMP

CONTEXT_FIELDS = 64  # every context is padded to this many fields, so that one launcher copies them all
SCRATCH_BYTES = 128 << 10  # of a task, on the stack of its thread
ARRAYS = ("x", "weight", "bias", "residual", "out")  # the first fields of every context, written at each call


@dataclass(frozen=True)
class TileShape:
    """Outputs held in registers: rows x cols pixels of vecs vectors of lanes floats.

    taps are the filter columns taken at once, rest those at the end of a filter row that is wider; stride is the input columns between
    two outputs. Zero where a kernel has none. expand is how often load_pixel repeats each channel; 0: all outputs of the tile read one
    channel. left and right are the columns of padding beside a row of the image, and whole says that the tile is as wide as the output,
    or that of a phase, where that is known; uneven, that some phases have a column less, for a tile of one row. period is the channels
    of a pixel where vectors run along a row of pixels. depth is how many input channels are loaded at once. activation is what the
    epilogue does: a clamp to bounds known at run time, or one of activations.FUNCTIONS.
    """

    rows: int
    cols: int
    vecs: int
    lanes: int
    taps: int = 0
    stride: int = 0
    rest: int = 0
    expand: int = 1
    left: int = 0
    right: int = 0
    whole: bool = False
    uneven: bool = False
    period: int = 0
    depth: int = 1
    activation: str = CLAMP

    @property
    def pixels(self) -> int:
        return self.rows * self.cols

    @property
    def width(self) -> int:
        """Channels of one pixel."""
        return self.vecs * self.lanes

    @property
    def last_vec(self) -> int:
        """Bytes from the first vector of a pixel to its last where they follow each other."""
        return 4 * (self.width - self.lanes)

    @property
    def window_cols(self) -> int:
        """Input columns under one filter row of a tile; none where no taps are left."""
        return (self.cols - 1) * self.stride + self.taps if self.taps else 0

    @property
    def taps_inside(self) -> int:
        """Taps that fall between left and right, of all outputs of a row."""
        inside = range(self.left, self.window_cols - self.right)
        return sum(j * self.stride + s in inside for j in range(self.cols) for s in range(self.taps))

    @property
    def constants(self) -> dict[str, Any]:
        derived = ("pixels", "width", "last_vec", "window_cols")
        return asdict(self) | {name: getattr(self, name) for name in derived}

    @cached_property
    def _numba_type_(self):
        from fastdw.tile.values import ConstantsType

        return ConstantsType("TileShape", self.constants)

    def __str__(self) -> str:
        rest = f"+{self.rest}" if self.rest else ""
        window = f"_{self.taps}{rest}t{self.stride}s" if self.taps else ""
        expand = "" if self.expand == 1 else f"_{self.expand or 'all'}m"
        beside = f"_{self.left}l{self.right}r{'w' * self.whole}{'u' * self.uneven}" if self.left or self.right or self.whole else ""
        period = f"_{self.period}c{self.stride}s" if self.period else ""
        depth = "" if self.depth == 1 else f"_{self.depth}k"
        activation = "" if self.activation == CLAMP else f"_{self.activation}"
        return f"{self.rows}x{self.cols}x{self.vecs}x{self.lanes}{window}{expand}{beside}{period}{depth}{activation}"


class Context:
    """The named fields of one kernel family; ARRAYS always come first."""

    def __init__(self, *fields: str):
        self.fields = (*ARRAYS, *fields)
        assert len(set(self.fields)) == len(self.fields) <= CONTEXT_FIELDS

    def pack(self, values: dict[str, int]) -> np.ndarray:
        """A context whose array addresses are still zero."""
        unknown = values.keys() ^ set(self.fields[len(ARRAYS) :])
        if unknown:
            raise KeyError(f"context fields missing or unknown: {sorted(unknown)}")
        packed = np.zeros(CONTEXT_FIELDS, np.int64)
        packed[: len(self.fields)] = [values.get(field, 0) for field in self.fields]
        return packed

    def read(self, address: int) -> SimpleNamespace:
        """The fields at an address: what `view` means."""
        values: Iterable[int] = (ctypes.c_int64 * len(self.fields)).from_address(address)
        return SimpleNamespace(**dict(zip(self.fields, values, strict=True)))

    @cached_property
    def _numba_type_(self):
        from fastdw.tile.values import ConstantsType

        return ConstantsType("ContextFields", {field: i for i, field in enumerate(self.fields)})
