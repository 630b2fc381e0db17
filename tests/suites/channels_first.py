"""Convolution as PyTorch and ONNX state it, channels first and in groups, done by calls of fastdw that the oracle checks one by one."""

from __future__ import annotations

import numpy as np
import oracle

import fastdw
from fastdw.weights import from_torch


def conv(x, weight, bias=None, *, stride=1, padding="valid", dilation=1, groups=1) -> tuple[np.ndarray, np.ndarray]:
    """The result, and its float64 value by the oracle.

    Args:
      x: [batch, channels, (height,) width], the batch optional.
      weight: [out_channels, channels / groups, (kernel_h,) kernel_w].
      stride, dilation: an int, or one an axis; padding: a name, an int, or (before, after) of each axis.
    """
    n_axes = weight.ndim - 2
    assert n_axes in (1, 2), f"{n_axes} axes"
    images = x if x.ndim == weight.ndim else x[None]
    images = np.ascontiguousarray(np.moveaxis(images[:, :, None] if n_axes == 1 else images, 1, -1))
    missing = 2 - n_axes  # rows, which have one tap
    geometry = {
        "stride": (1,) * missing + _each(stride, n_axes),
        "padding": padding
        if isinstance(padding, str)
        else ((0, 0),) * missing + tuple(_each(sides, 2) for sides in _each(padding, n_axes)),
        "dilation": (1,) * missing + _each(dilation, n_axes),
    }
    channels, group_outputs = images.shape[-1], len(weight) // groups
    if groups == channels:
        layer = from_torch(weight, "depthwise", multiplier=group_outputs)
        y, value = checked("depthwise_conv2d", images, layer, bias, **geometry)
        if channels == 1:
            full, _ = checked("conv2d", images, from_torch(weight, "conv"), bias, **geometry)
            np.testing.assert_array_equal(full, y)
    else:
        parts = []
        size = channels // groups
        for g in range(groups):
            outputs = slice(g * group_outputs, (g + 1) * group_outputs)
            group_bias = None if bias is None else bias[outputs]
            layer = from_torch(weight[outputs], "conv")
            parts.append(checked("conv2d", images[..., g * size : (g + 1) * size], layer, group_bias, **geometry))
        y, value = (np.concatenate(part, -1) for part in zip(*parts, strict=True))
    y, value = (np.moveaxis(image, -1, 1) for image in (y, value))
    y, value = (image[:, :, 0] if n_axes == 1 else image for image in (y, value))
    return (y, value) if x.ndim == weight.ndim else (y[0], value[0])


def linear(x, weight, bias=None) -> tuple[np.ndarray, np.ndarray]:
    """x @ weight.T + bias over the last axis, as PyTorch states it; likewise."""
    rows = np.ascontiguousarray(x.reshape(-1, x.shape[-1]))
    y, value = checked("dense", rows, from_torch(weight, "dense"), bias)
    return y.reshape(*x.shape[:-1], -1), value.reshape(*x.shape[:-1], -1)


def checked(call: str, *arrays, **keywords) -> tuple[np.ndarray, np.ndarray]:
    """A call's result, which the oracle has checked, and its float64 value."""
    y = getattr(fastdw, call)(*arrays, **keywords)
    expected = getattr(oracle, call)(*arrays, **keywords)
    expected.check(y)
    return y, expected.value


def _each(value, count: int) -> tuple:
    """One value for all, or one each."""
    values = value if isinstance(value, (tuple, list)) else (value,)
    return tuple(values) * count if len(values) == 1 else tuple(values)
