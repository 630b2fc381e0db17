"""Register tiles: their shapes, contexts and operations, and how they become machine code."""

from fastdw.tile.operations import (
    add,
    clamp,
    divide,
    load,
    load_row,
    load_taps,
    load_window,
    load_window_clipped,
    outer_fma,
    outer_fma_clipped,
    positive_zero,
    slide_fma,
    store,
    view,
    zeros,
)
from fastdw.tile.shapes import ARRAYS, Context, TileShape

__all__ = [
    "ARRAYS",
    "Context",
    "TileShape",
    "add",
    "clamp",
    "divide",
    "load",
    "load_row",
    "load_taps",
    "load_window",
    "load_window_clipped",
    "outer_fma",
    "outer_fma_clipped",
    "positive_zero",
    "slide_fma",
    "store",
    "view",
    "zeros",
]
