"""PyTorch in inference mode, channels_last: conv2d with a clamp in place, or oneDNN's fused convolution on weights reordered once.

PyTorch pads both ends alike. Where "same" pads the far end more, image and weights are turned round, and with them the padding: a stride
over an even size then never reaches the row that is too much. So no padded copy is made.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from bench.data import aligned_empty
from bench.layers import Layer
from bench.peers import Runner, Unavailable, fastest, weight_oihw

DISTRIBUTION = "torch"


def make(layer: Layer, weights: list[np.ndarray], biases: list[np.ndarray], threads: int) -> Runner:
    torch.set_num_threads(threads)
    biases = [torch.from_numpy(bias) for bias in biases]
    if layer.kind == "dense":
        weights = [torch.from_numpy(np.ascontiguousarray(weight.T)) for weight in weights]
        return _runner(layer, "linear", functional.linear, weights, biases, ())

    turned = _turned_axes(layer)
    weights = [torch.from_numpy(np.flip(weight_oihw(layer, weight), turned).copy()) for weight in weights]
    forms = [_conv2d(layer, weights, biases, turned)]
    if torch.backends.mkldnn.is_available():
        forms.append(_onednn(layer, weights, biases, turned))
    return fastest(forms)


def _conv2d(layer, weights, biases, turned):
    weights = [weight.to(memory_format=torch.channels_last) for weight in weights]
    padding, groups = _padding(layer), _groups(layer)

    def convolve(x, weight, bias):
        return functional.conv2d(x, weight, bias, layer.stride, padding, layer.dilation, groups).clamp_(0, 6)

    return _runner(layer, "channels_last, conv2d", convolve, weights, biases, turned)


def _onednn(layer, weights, biases, turned):
    stride, dilation, padding, groups = [layer.stride] * 2, [layer.dilation] * 2, _padding(layer), _groups(layer)
    in_shape = [1, layer.in_channels, layer.height, layer.width]
    reorder = torch.ops.mkldnn._reorder_convolution_weight
    weights = [reorder(weight, padding, stride, dilation, groups, in_shape) for weight in weights]

    def convolve(x, weight, bias):
        return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, padding, stride, dilation, groups, "hardtanh", [0, 6], "")

    return _runner(layer, "channels_last, oneDNN", convolve, weights, biases, turned)


def _turned_axes(layer):
    """The axes of NCHW whose padding is larger at the far end."""
    if layer.stride == 1 and layer.kernel % 2 == 0:
        raise Unavailable("an even kernel with stride 1 cannot be padded alike at both ends")
    return tuple(axis for axis, (begin, end) in zip((2, 3), layer.padding, strict=True) if begin != end)


def _padding(layer):
    return [end for begin, end in layer.padding]


def _groups(layer):
    return layer.in_channels if layer.kind == "depthwise" else 1


def _runner(layer, form, function, weights, biases, turned):
    image = aligned_empty(layer.in_shape)
    x = torch.from_numpy(image.reshape(1, -1) if layer.kind == "dense" else image.transpose(0, 3, 1, 2))
    copies = list(zip(weights, biases, strict=True))
    results: list[torch.Tensor] = []

    @torch.inference_mode()
    def call():
        results[:] = [function(x, weight, bias) for weight, bias in copies]

    nhwc_axes = tuple(axis - 1 for axis in turned)

    def output_nhwc(k):
        if layer.kind == "dense":
            return results[k].numpy().reshape(layer.out_shape)
        return np.flip(results[k].permute(0, 2, 3, 1).numpy(), nhwc_axes)

    return Runner("torch", form, call, lambda new: np.copyto(image, np.flip(new, nhwc_axes)), output_nhwc)
