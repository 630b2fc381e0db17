"""ONNX's own tests of single operators: each that is read gives the output that comes with it."""

import importlib
import pkgutil
import warnings
from collections.abc import Iterator

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
from onnx import numpy_helper  # noqa: E402

from fastdw.networks import Network, read_onnx  # noqa: E402
from fastdw.networks.onnx_operators import CONVERSIONS  # noqa: E402

N_COMPARED = 90
OTHERWISE = {"test_resize_downsample_scales_linear_align_corners"}  # of 2.4 columns, where the text of the standard has whole ones


def cases() -> Iterator:
    from onnx.backend.test.case import node

    kinds = {kind.lower() for kind in CONVERSIONS} | {"batch_normalization"}
    for module in pkgutil.iter_modules(node.__path__):
        if module.name in kinds:
            importlib.import_module(f"{node.__name__}.{module.name}")
    for case in node._NodeTestCases:
        inputs, outputs = case.data_sets[0]
        is_plain = all(isinstance(array, np.ndarray | np.generic) for array in (*inputs, *outputs))
        if case.name not in OTHERWISE and is_plain and inputs and {entry.op_type for entry in case.model.graph.node} <= CONVERSIONS.keys():
            yield case, inputs, outputs


def nhwc(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array


def test_what_is_read_computes_what_onnx_says(tmp_path):
    n_compared = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(cases())
    for case, (x, *parameters), outputs in found:
        model = onnx.ModelProto.FromString(case.model.SerializeToString())
        for value, array in zip(model.graph.input[1:], parameters, strict=True):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), value.name))
        path = tmp_path / "case.onnx"
        path.write_bytes(model.SerializeToString())
        try:
            graph = read_onnx(path)
        except ValueError:
            continue
        y = Network(graph)(nhwc(x.astype(np.float32)))
        expected = nhwc(outputs[0]) if x.ndim == 4 else outputs[0]
        np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-5, err_msg=case.name)
        n_compared += 1
    assert n_compared >= N_COMPARED
