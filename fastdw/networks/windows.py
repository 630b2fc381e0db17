"""Arithmetic of a window that slides over one extent of an image."""

from __future__ import annotations

from fastdw.problem import Padding, out_extent, same_padding

Shape = tuple[int, ...]

NO_PADDING: Padding = ((0, 0), (0, 0))


def same_padding2d(shape: Shape, window: tuple[int, int], stride: tuple[int, int] = (1, 1), dilation: tuple[int, int] = (1, 1)) -> Padding:
    """`same_padding` of the height and the width of an NHWC shape."""
    rows, cols = (same_padding(*extent) for extent in zip(shape[1:3], window, stride, dilation, strict=True))
    return rows, cols


def output_shape2d(
    shape: Shape,
    channels: int,
    window: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    padding: Padding = NO_PADDING,
) -> Shape:
    """The NHWC shape that a window over an NHWC shape gives."""
    if len(shape) != 4:
        raise ValueError(f"input: got shape {shape}; expected [batch, height, width, channels]")
    rows, cols = (out_extent(*extent) for extent in zip(shape[1:3], window, stride, dilation, padding, strict=True))
    if rows < 1 or cols < 1:
        raise ValueError(f"input: got height and width {shape[1:3]}; expected room for a window of {window}, dilation {dilation}")
    return shape[0], rows, cols, channels


def tap_slices(size: int, outputs: int, tap: int, stride: int, before: int) -> tuple[slice, slice]:
    """The outputs whose window has this tap inside the extent, and the inputs under the tap there."""
    first = max(-(-(before - tap) // stride), 0)
    last = min((size - 1 + before - tap) // stride, outputs - 1)
    count = max(last - first + 1, 0)
    start = first * stride + tap - before
    return slice(first, first + count), slice(start, start + (count - 1) * stride + 1, stride) if count else slice(0, 0)
