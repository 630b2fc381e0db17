"""ncnn, float32, in its packed layout from end to end.

ncnn packs an image on entry and unpacks its result on exit. In a network only the ends pay for that. So the input is packed by ncnn
outside `call`, and results are taken as they are; `output_nhwc` unpacks them. Half-precision storage is off: it would not be float32.
Memory comes from pools, which ncnn recommends and does not do by itself; they live as long as the process, as results point to them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import ncnn
import numpy as np

from bench.layers import Layer
from bench.peers import Runner, nchw, weight_oihw

DISTRIBUTION = "ncnn"
MAGIC = 7767517
PAD_SAME_UPPER = -233
RELU6 = "9=3 -23310=2,0.0,6.0"
FLOAT32_WEIGHTS = bytes(4)
PACKED = 1
BLOBS, WORKSPACE = ncnn.PoolAllocator(), ncnn.PoolAllocator()


def make(layer: Layer, weights: list[np.ndarray], biases: list[np.ndarray], threads: int) -> Runner:
    copies = _Copies(layer, weights, biases, threads)
    return Runner("ncnn", "packed NCHW", copies.call, copies.set_input, copies.output_nhwc)


class _Copies:
    def __init__(self, layer, weights, biases, threads):
        self.layer = layer
        parameters = b"".join(
            FLOAT32_WEIGHTS + _weight(layer, weight).tobytes() + bias.tobytes() for weight, bias in zip(weights, biases, strict=True)
        )
        self.net = _net([_description(layer)] * len(weights), parameters, threads)
        self.identity = _net(["ReLU {name} 1 1 {x} {y} 0=1.0"], b"", threads=1)
        self.inputs, self.outputs = list(self.net.input_indexes()), list(self.net.output_indexes())
        self.x, self.results = None, []

    def call(self):
        self.results = []
        extractor = self.net.create_extractor()
        for index in self.inputs:
            extractor.input(index, self.x)
        self.results = [extractor.extract(index, PACKED) for index in self.outputs]

    def set_input(self, x):
        image = x.ravel() if self.layer.kind == "dense" else nchw(x)[0]
        extractor = self.identity.create_extractor()
        extractor.input(self.identity.input_indexes()[0], ncnn.Mat(image).clone())  # a Mat borrows the array's memory, its clone does not
        self.x = extractor.extract(self.identity.output_indexes()[0], PACKED)[1]

    def output_nhwc(self, k):
        y = np.array(ncnn.convert_packing(self.results[k][1], 1))
        return np.ascontiguousarray(y if self.layer.kind == "dense" else y.transpose(1, 2, 0)).reshape(self.layer.out_shape)


def _net(descriptions, parameters, threads):
    """One layer a description, each between an input and an output of its own."""
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    net.opt.blob_allocator, net.opt.workspace_allocator = BLOBS, WORKSPACE
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage"):
        setattr(net.opt, option, False)

    lines = [f"Input input{k} 0 1 x{k}" for k in range(len(descriptions))]
    lines += [text.format(name=f"layer{k}", x=f"x{k}", y=f"y{k}") for k, text in enumerate(descriptions)]
    counts = f"{len(lines)} {len(lines)}"
    with tempfile.TemporaryDirectory() as folder:
        text, binary = Path(folder) / "net.param", Path(folder) / "net.bin"
        text.write_text("\n".join([str(MAGIC), counts, *lines, ""]))
        binary.write_bytes(parameters)
        if net.load_param(str(text)) or net.load_model(str(binary)):
            raise RuntimeError(f"ncnn refused the model: {lines[-1]}")
    return net


def _description(layer):
    """A line of ncnn's model file, but for its names."""
    n_weights = np.prod(layer.weight_shape)
    if layer.kind == "dense":
        return f"InnerProduct {{name}} 1 1 {{x}} {{y}} 0={layer.out_channels} 1=1 2={n_weights}"
    operator, groups = ("ConvolutionDepthWise", f"7={layer.in_channels}") if layer.kind == "depthwise" else ("Convolution", "")
    window = f"0={layer.out_channels} 1={layer.kernel} 2={layer.dilation} 3={layer.stride} 4={PAD_SAME_UPPER} 5=1 6={n_weights}"
    return f"{operator} {{name}} 1 1 {{x}} {{y}} {window} {groups} {RELU6}"


def _weight(layer, weight):
    return np.ascontiguousarray(weight.T) if layer.kind == "dense" else weight_oihw(layer, weight)
