"""The peers of bench.signals: for each, the forms of a layer that may suit it best. What they write is [1, 1, length, channels].

1-D forms take [1, channels, length], as these systems define it; images of one row take the layout that the 2-D benches found best.
Causal padding is an attribute where a system has one for each end; PyTorch has not, so its signals lie behind their own zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data import aligned_copy
from bench.peers import Runner, nchw, nhwc

if TYPE_CHECKING:
    from bench.signals import Case


def torch(case: Case, threads: int) -> list[Runner]:
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    layer, bias = case.layer, torch.from_numpy(case.bias)
    weight = torch.from_numpy(case.weight_1d)
    weight_2d = weight.unsqueeze(2).to(memory_format=torch.channels_last)
    padded = np.pad(case.x, ((0, 0), layer.sides, (0, 0)))
    signal = torch.from_numpy(aligned_copy(padded.transpose(0, 2, 1)))
    image = torch.from_numpy(aligned_copy(padded[:, np.newaxis])).permute(0, 3, 1, 2)
    groups = layer.channels
    calls = {
        "NCL, conv1d": lambda: functional.conv1d(signal, weight, bias, groups=groups),
        "channels_last image, conv2d": lambda: functional.conv2d(image, weight_2d, bias, groups=groups),
    }
    if torch.backends.mkldnn.is_available():
        window = ([0, 0], [1, 1], [1, 1], groups)
        reordered = torch.ops.mkldnn._reorder_convolution_weight(weight_2d, *window, list(image.shape))
        calls["channels_last image, oneDNN"] = lambda: torch.ops.mkldnn._convolution_pointwise(
            image, reordered, bias, *window, "none", [], ""
        )
        if layer.sides[0] == layer.sides[1]:
            bare = torch.from_numpy(aligned_copy(case.x[:, np.newaxis])).permute(0, 3, 1, 2)
            own = ([0, layer.sides[0]], [1, 1], [1, 1], groups)
            fitted = torch.ops.mkldnn._reorder_convolution_weight(weight_2d, *own, list(bare.shape))
            calls["channels_last image, oneDNN, its own padding"] = lambda: torch.ops.mkldnn._convolution_pointwise(
                bare, fitted, bias, *own, "none", [], ""
            )
    return [_torch_runner(torch, form, call) for form, call in calls.items()]


def _torch_runner(torch: Any, form: str, call: Any) -> Runner:
    results: list[Any] = []

    @torch.inference_mode()
    def run() -> None:
        results[:] = [call()]

    def output(_: int) -> np.ndarray:
        y = results[0].numpy()
        return y.transpose(0, 2, 1)[:, np.newaxis] if y.ndim == 3 else nhwc(y)

    return Runner("torch", form, run, lambda x: None, output)


def onnxruntime(case: Case, threads: int) -> list[Runner]:
    from onnx import helper, numpy_helper

    from bench.peers import peer_onnxruntime as peer

    layer, (before, after) = case.layer, case.layer.sides
    bias = numpy_helper.from_array(case.bias, "bias")
    as_signal = {"kernel_shape": [layer.taps], "pads": [before, after]}
    as_image = {"kernel_shape": [1, layer.taps], "pads": [0, before, 0, after]}
    runners = []
    for attributes in (as_signal, as_image):
        is_image = attributes is as_image
        weight = case.weight_1d[:, :, np.newaxis] if is_image else case.weight_1d
        node = helper.make_node("Conv", ["x", "weight", "bias"], ["y0"], group=layer.channels, **attributes)
        constants = [numpy_helper.from_array(weight, "weight"), bias]
        shape = [1, layer.channels, 1, layer.length] if is_image else [1, layer.channels, layer.length]
        runner = peer.blocked([node], constants, shape, 1, threads)
        x = nchw(case.x[:, np.newaxis])
        runner.set_input(x if is_image else x[:, :, 0])
        runners.append(_channels_last(runner, f"{runner.form} image" if is_image else "NCL"))
    return runners


def _channels_last(runner: Runner, form: str) -> Runner:
    def output(k: int) -> np.ndarray:
        y = runner.output_nhwc(k)
        return nhwc(y) if y.ndim == 4 else y.transpose(0, 2, 1)[:, np.newaxis]

    return Runner(runner.name, form, runner.call, runner.set_input, output)


def openvino(case: Case, threads: int) -> list[Runner]:
    import openvino as ov
    from openvino import opset13 as ops

    from bench.peers import peer_openvino as peer

    before, after = case.layer.sides
    core, runners = ov.Core(), []
    for form in ("NCL", "NLC", "NCHW image", "NHWC image"):
        is_image, is_last = "image" in form, form.startswith(("NLC", "NHWC"))
        weight = case.weight_1d[:, np.newaxis, :, np.newaxis] if is_image else case.weight_1d[:, np.newaxis]
        pads = ([0, before], [0, after]) if is_image else ([before], [after])
        ones = [1] * len(pads[0])
        last = case.x[:, np.newaxis] if is_image else case.x
        to_first, to_last = ([0, 3, 1, 2], [0, 2, 3, 1]) if is_image else ([0, 2, 1], [0, 2, 1])
        given = last if is_last else last.transpose(to_first)
        x = ops.parameter(given.shape, np.float32)
        image = ops.transpose(x, ops.constant(to_first)) if is_last else x
        y = ops.group_convolution(image, ops.constant(weight), ones, *pads, ones)
        y = ops.add(y, ops.constant(case.bias.reshape(1, -1, *ones)))
        y = ops.transpose(y, ops.constant(to_last)) if is_last else y
        request, buffer, outputs = peer.request_of(core, ov.Model([y], [x]), threads)
        runner = Runner("openvino", form, _infer(request), _writer(buffer), _output_of(outputs, None if is_last else to_last))
        runner.set_input(given)
        runners.append(runner)
    return runners


def _infer(request: Any) -> Any:
    return lambda: request.infer(share_outputs=True)


def _writer(buffer: np.ndarray) -> Any:
    return lambda x: np.copyto(buffer, x)


def _output_of(outputs: list[np.ndarray], to_last: list[int] | None) -> Any:
    return lambda k: outputs[k] if to_last is None else outputs[k].transpose(to_last)


FORMS = {"torch": torch, "onnxruntime": onnxruntime, "openvino": openvino}
