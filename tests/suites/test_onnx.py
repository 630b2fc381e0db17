"""ONNX's own backend tests of convolution and what is near it, their operators replaced by calls of fastdw."""

import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from channels_first import checked, conv

from fastdw import arguments
from fastdw.weights import from_onnx

onnx = pytest.importorskip("onnx", reason="needs the onnx package: pip install '.[oracles]'")

from onnx import numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402
from onnx.reference.op_run import OpRun  # noqa: E402

NODE_CASES = ("conv", "gemm", "matmul", "globalaveragepool", "causal_conv_with_state")
OTHER_NODE_CASES = ("convinteger", "convtranspose", "deformconv", "qlinearconv")
STORED_CASES = ("pytorch-converted", "pytorch-operator")
OTHERS_CALLS = {  # operators of convolution and multiplication that fastdw does not have
    "ConvInteger": "whole numbers: fastdw computes in float32",
    "QLinearConv": "whole numbers: fastdw computes in float32",
    "ConvTranspose": "transposed convolution, which fastdw does not have",
    "DeformConv": "deformable convolution, which fastdw does not have",
}


class NotCovered(Exception):
    pass


class Case(NamedTuple):
    name: str
    model: object
    data: list  # of (inputs, outputs)


def node_cases() -> Iterator[Case]:
    from onnx.backend.test.case import node

    for module in NODE_CASES + OTHER_NODE_CASES:
        try:
            importlib.import_module(f"{node.__name__}.{module}")
        except ModuleNotFoundError:  # newer than this onnx
            continue
    for case in node._NodeTestCases:
        yield Case(case.name, case.model, case.data_sets)


def stored_cases() -> Iterator[Case]:
    root = Path(onnx.__file__).parent / "backend" / "test" / "data"
    for folder in sorted(path.parent for group in STORED_CASES for path in (root / group).glob("*/model.onnx")):
        model = onnx.load(folder / "model.onnx")
        if any(node.op_type in OPERATORS or "Conv" in node.op_type for node in model.graph.node):
            sets = [[stored_arrays(data, kind) for kind in ("input", "output")] for data in sorted(folder.glob("test_data_set_*"))]
            yield Case(folder.name, model, sets)


def stored_arrays(folder: Path, kind: str) -> list[np.ndarray]:
    files = sorted(folder.glob(f"{kind}_*.pb"), key=lambda path: int(path.stem.rpartition("_")[2]))
    return [numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes())) for path in files]


# ---- operators ----


class Ours(OpRun):
    n_runs = 0

    def run(self, *args, **keywords):
        Ours.n_runs += 1
        return super().run(*args, **keywords)


def conv_of_onnx(x, weight, bias, auto_pad, dilations, group, pads, strides):
    if weight.ndim > 4:
        raise NotCovered(f"{weight.ndim - 2} axes: fastdw convolves over one or two")
    n_axes = weight.ndim - 2
    padding = {"NOTSET": "valid", "VALID": "valid", "SAME_UPPER": "same", "SAME_LOWER": "same_lower"}[auto_pad]
    if auto_pad == "NOTSET" and pads:
        padding = list(zip(pads[:n_axes], pads[n_axes:], strict=True))
    return conv(x, weight, bias, stride=strides or 1, padding=padding, dilation=dilations or 1, groups=group)[0]


class Conv(Ours):
    def _run(self, x, weight, bias=None, auto_pad=None, dilations=None, group=1, kernel_shape=None, pads=None, strides=None):
        return (conv_of_onnx(only_float32(x), weight, bias, auto_pad or "NOTSET", dilations, group or 1, pads, strides),)


class CausalConvWithState(Ours):
    """A depthwise convolution of one axis that continues from the inputs before."""

    def _run(self, x, weight, bias=None, past=None, activation=None):
        name = {"none": None, "swish": "silu"}.get(activation, activation)
        if name is not None and name not in arguments.ACTIVATIONS:
            raise NotCovered(f"activation {name}")
        length = weight.shape[2] - 1
        before = np.zeros((*x.shape[:2], length), x.dtype) if past is None else past
        joined = np.concatenate([before, only_float32(x)], axis=2)
        images = np.ascontiguousarray(joined.transpose(0, 2, 1))[:, None]
        y = checked("depthwise_conv2d", images, from_onnx(weight, "depthwise"), bias, activation=name)[0]
        return y[:, 0].transpose(0, 2, 1), joined[:, :, joined.shape[2] - length :]


class Gemm(Ours):
    def _run(self, a, b, c=None, alpha=1.0, beta=1.0, transA=0, transB=0, **older):
        a = only_float32(a).T if transA else only_float32(a)
        weight = np.float32(alpha) * from_onnx(b, "dense", transposed=bool(transB))
        addend = None if c is None else np.float32(beta) * c
        return (dense(np.ascontiguousarray(a), weight, addend),)


class MatMul(Ours):
    def _run(self, a, b):
        if b.ndim > 2:
            raise NotCovered(f"a stack of weights, {b.shape}")
        only_float32(a)
        y = dense(a.reshape(-1, a.shape[-1]), b.reshape(b.shape[0], -1), None)
        return (y.reshape((*a.shape[:-1], *b.shape[1:])),)


class GlobalAveragePool(Ours):
    def _run(self, x):
        images = np.ascontiguousarray(only_float32(x).transpose(0, 2, 3, 1))
        return (np.moveaxis(checked("global_average_pool2d", images, keepdims=True)[0], -1, 1),)


def dense(x, weight, addend):
    """A vector is a bias; a whole matrix is a residual, which the pointwise call takes."""
    shape = len(x), weight.shape[1]
    if addend is None or addend.size == 1 or addend.shape[:-1] in ((), (1,)):
        bias = None if addend is None else np.broadcast_to(addend.reshape(-1), shape[1:])
        return checked("dense", x, weight, bias)[0]
    residual = np.ascontiguousarray(addend)[None, None]
    return checked("pointwise_conv2d", x[None, None], weight, residual=residual)[0][0, 0]


def only_float32(array):
    if array.dtype != np.float32:
        raise NotCovered(f"{array.dtype}: fastdw computes in float32")
    return array


OPERATORS = {operator.__name__: operator for operator in (Conv, CausalConvWithState, Gemm, MatMul, GlobalAveragePool)}

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    CASES = [*node_cases(), *stored_cases()]


def test_onnx_brings_cases():
    names = [case.name for case in CASES]
    for start in ("test_conv", "test_gemm", "test_globalaveragepool", "test_Conv2d", "test_operator_conv"):
        assert any(name.startswith(start) for name in names), start


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_backend_case(case):
    kinds = {node.op_type for node in case.model.graph.node}
    for name in kinds & OTHERS_CALLS.keys():
        pytest.skip(OTHERS_CALLS[name])
    for inputs, outputs in case.data:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluator = ReferenceEvaluator(case.model, new_ops=list(OPERATORS.values()))
        before = Ours.n_runs
        try:
            results = evaluator.run(None, dict(zip(evaluator.input_names, inputs, strict=False)))
        except NotCovered as reason:
            pytest.skip(str(reason))
        assert Ours.n_runs > before, "no operator of ours ran"
        for result, expected in zip(results, outputs, strict=True):
            np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-6)
