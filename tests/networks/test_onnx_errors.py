"""Files that are no ONNX model, or a damaged one, or one with something that is not supported: one clear error each."""

import numpy as np
import pytest
from tiny_onnx import TinyOnnx, onnx, random

from fastdw.networks import read_onnx


def broken(path, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_onnx(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "message"),
    [
        ("Abs", ["x"], {}, "node 0 Abs: got an operator that is not supported; expected one of Conv, "),
        ("Relu", ["z"], {}, "node 0 Relu: z: got an input that no node before gives; "),
        ("Relu", [""], {}, "node 0 Relu: input 0: got none; "),
        ("Conv", ["x", "x"], {}, "node 0 Conv: x: got a tensor that is computed; expected a constant"),
        ("Conv", ["x", "w"], {"group": 3}, "node 0 Conv: weight: got shape .* in 3 groups; "),
        ("Conv", ["x", "w"], {"strides": [1]}, "node 0 Conv: strides: got .*; expected two sizes"),
        ("Conv", ["x", "w"], {"strides": [1.5, 1.0]}, "node 0 Conv: strides: got .*; expected a list of integers"),
        ("Conv", ["x", "w"], {"strides": ["one", "one"]}, "node 0 Conv: strides: got .*; expected a list of integers"),
        ("Squeeze", ["x"], {"axes": [0.0]}, "node 0 Squeeze: axes: got .*; expected a list of integers"),
        ("Conv", ["x", "w"], {"pads": [1, 1]}, "node 0 Conv: pads: got .*; expected 4 sizes"),
        ("Conv", ["x", "w"], {"auto_pad": "SAME"}, "node 0 Conv: auto_pad: got 'SAME'; "),
        ("Gemm", ["x", "w"], {}, "node 0 Gemm: weight: got shape .*; expected 2 axes"),
        ("Transpose", ["x"], {"perm": [0, 0, 1, 2]}, "node 0 Transpose: perm: got "),
        ("Softmax", ["x"], {"axis": 7}, "node 0 Softmax: axis: got 7; expected one of the 4 of "),
        ("Reshape", ["x", "n"], {}, "node 0 Reshape: .*shape: got .*; expected the 60 elements"),
        ("Reshape", ["x", "w"], {}, "node 0 Reshape: shape: got float32; expected integers"),
        ("Resize", ["x", "", "", "n"], {"mode": "cubic"}, "node 0 Resize: mode: got cubic, half_pixel; "),
        (
            "Resize",
            ["x", "", "fractions"],
            {"mode": "linear", "antialias": 1},
            "node 0 Resize: antialias: got 1 and an image that becomes ",
        ),
        (
            "Resize",
            ["x", "", "", "n"],
            {"mode": "linear", "axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"},
            "node 0 Resize: keep_asp",
        ),
        ("Resize", ["x", "", "", "n"], {"mode": "linear"}, r"node 0 Resize: sizes: got \(7, 7\); expected \(1, 3\), "),
        (
            "Resize",
            ["x", "", "fractions"],
            {"mode": "linear", "axes": [1, 2, 3, 0]},
            "node 0 Resize: scales: got .*; expected 1, 1, and two",
        ),
        ("MaxPool", ["x"], {"kernel_shape": [9, 9]}, "node 0 MaxPool: .*expected room for a window of "),
        ("MaxPool", ["x"], {}, "node 0 MaxPool: kernel_shape: got "),
        ("Clip", ["x", "one", "two"], {}, "node 0 Clip: max: got shape \\(2,\\); expected one number"),
        ("Clip", ["x", "none"], {}, "node 0 Clip: min: got shape \\(0,\\); expected one number"),
        ("Clip", ["x", "one", "minus"], {}, "node 0 Clip: bounds: got 1.0 and -1.0; "),
        (
            "QuantizeLinear",
            ["x", "one"],
            {"output_dtype": 21},
            "node 0 QuantizeLinear: output_dtype: got type 21, which is not supported; ",
        ),
        ("QuantizeLinear", ["x", "minus"], {}, "node 0 QuantizeLinear: scale: got -1.0; expected numbers above 0"),
        ("QuantizeLinear", ["w", "minus"], {}, "node 0 QuantizeLinear: .*scale: got -1.0; expected numbers above 0"),
        ("QuantizeLinear", ["w", "two"], {}, "node 0 QuantizeLinear: .*scale: got shape .2,.; expected .3,., one for each index of axis 1"),
        ("Cast", ["x"], {"to": 7}, "node 0 Cast: to: got type 7 for a tensor that is computed; "),
        ("Dropout", ["x", "", "one"], {}, "node 0 Dropout: training_mode: got True; "),
        ("Relu", ["w"], {}, "node 0 Relu: c0: got a constant; expected a tensor that is computed"),
        ("Add", ["x", "deep"], {}, r"node 0 Add: constant: got shape \(1, 1, 1, 1, 1\); expected at most 4 axes"),
        ("Pad", ["x", "pads"], {"value": 1.0}, "node 0 Pad: mode: got another than zeros"),
        ("Reshape", ["x", "zero"], {"allowzero": 1}, r"node 0 Reshape: shape: got \(0, 60\); "),
        ("If", ["x"], {"then_branch": onnx.GraphProto()}, "node 0 If: then_branch: got a graph inside a node"),
    ],
)
def test_nodes(tmp_path, kind, inputs, attributes, message):
    model = TinyOnnx(1, 3, 4, 5)
    constants = {"w": random(4, 3, 1, 1) - 9, "n": np.array([7, 7], np.int64), "fractions": np.float32([1, 1, 0.5, 0.5])}
    constants |= {"one": np.float32(1), "minus": np.float32([-1]), "two": np.float32([1, 2]), "none": np.float32([])}
    constants |= {"deep": random(1, 1, 1, 1, 1), "pads": np.ones(8, np.int64), "zero": np.array([0, 60], np.int64)}
    names = {name: model.constant(values, values.dtype) for name, values in constants.items()}
    model.node(kind, *(names.get(name, name) for name in inputs), **attributes)
    broken(model.save(tmp_path), message)


@pytest.mark.parametrize(
    ("kind", "attributes"), [("AveragePool", {"kernel_shape": [2, 2]}), ("MaxPool", {"kernel_shape": [2]}), ("Conv", {})]
)
@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER"])
def test_no_image(tmp_path, kind, attributes, auto_pad):
    model = TinyOnnx(1, 3, 4)
    model.node(kind, "x", *([model.constant(random(4, 3, 1))] if kind == "Conv" else []), auto_pad=auto_pad, **attributes)
    broken(model.save(tmp_path), rf"node 0 {kind}: input: got shape \(1, 3, 4\); expected \[batch, channels, height, width\]")


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "message"),
    [
        ("Relu", [], {}, "inputs: got integers of a QuantizeLinear, "),
        ("Cast", [], {"to": 1}, "inputs: got integers of a QuantizeLinear, "),
        ("Concat", ["x"], {"axis": 1}, "inputs: got integers of a QuantizeLinear, "),
        ("DequantizeLinear", ["other", "zero"], {}, "scale, zero point: got others than those of a QuantizeLinear before; "),
        ("DequantizeLinear", ["scale"], {}, "scale, zero point: got others than those of a QuantizeLinear before; "),
    ],
)
def test_integers_that_are_computed_with(tmp_path, kind, inputs, attributes, message):
    model = TinyOnnx(1, 3, 4, 5)
    names = {"x": "x", "scale": model.constant(0.5), "other": model.constant(0.25), "zero": model.constant(3, np.int8)}
    y = model.node("QuantizeLinear", "x", names["scale"], names["zero"])
    model.node(kind, y, *(names[name] for name in inputs), **attributes)
    broken(model.save(tmp_path), f"node 1 {kind}: {message}")


@pytest.mark.parametrize("shape", [(2, 1), (3,), (2, 2)])
def test_a_summand_of_gemm_that_is_no_bias(tmp_path, shape):
    """(2, 1) is one number for each row, though there are as many rows as columns."""
    model = TinyOnnx(2, 6)
    model.node("Gemm", "x", model.constant(random(6, 2)), model.constant(random(*shape)))
    broken(model.save(tmp_path), r"node 0 Gemm: bias: got shape .*; expected \(2,\)")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, "height", 5), r"x: got shape \(1, 3, 0, 5\) \(0 where it is not fixed\); "),
        ((), "x: got 0 axes; expected 1 to 8"),
        ((1,) * 9, "x: got 9 axes; expected 1 to 8"),
        ((1, 1 << 20, 1 << 20, 3), "input: got shape .* bytes; expected at most "),
    ],
)
def test_inputs(tmp_path, shape, message):
    model = TinyOnnx(*shape)
    model.node("Relu", "x")
    broken(model.save(tmp_path), message)


def test_an_attribute_of_an_unknown_type(tmp_path):
    model = TinyOnnx(1, 3, 4, 5)
    model.node("Relu", "x", type=onnx.TypeProto())
    broken(model.save(tmp_path), "node 0 Relu: type: got an attribute of type 13; ")


def test_a_node_of_another_domain(tmp_path):
    model = TinyOnnx(1, 3, 4, 5)
    model.node("Relu", "x", domain="com.example")
    broken(model.save(tmp_path), "node 0 com.example.Relu: got an operator that is not supported; ")


def test_a_name_given_twice(tmp_path):
    model = TinyOnnx(1, 3, 4, 5)
    model.node("Relu", model.node("Relu", "x"))
    model.nodes[1].output[0] = "y0"
    broken(model.save(tmp_path), "node 1 Relu: y0: got a second node that gives it; ")


def test_an_output_that_nothing_gives(tmp_path):
    model = TinyOnnx(1, 3, 4, 5)
    model.node("Relu", "x")
    proto = model.proto()
    proto.graph.output[0].name = "z"
    path = tmp_path / "tiny.onnx"
    path.write_bytes(proto.SerializeToString())
    broken(path, "z: got an output that nothing computes; ")


def test_values_in_another_file(tmp_path):
    model = TinyOnnx(1, 3, 4, 5)
    model.node("Add", "x", model.constant(3))
    (constant,) = model.constants
    constant.ClearField("raw_data")
    constant.data_location = constant.EXTERNAL
    entry = constant.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    broken(model.save(tmp_path), "c0: got values in another file; ")


@pytest.mark.parametrize(("dims", "message"), [([1 << 40], "c0: got shape .*; expected at most 8 axes"), ([5], "c0: got damaged values ")])
def test_constants_of_another_size(tmp_path, dims, message):
    model = TinyOnnx(1, 3, 4, 5)
    model.node("Add", "x", model.constant([1, 2]))
    model.constants[0].ClearField("dims")
    model.constants[0].dims.extend(dims)
    broken(model.save(tmp_path), message)


def test_an_old_operator_set(tmp_path):
    model = TinyOnnx(1, 3, 4, 5)
    model.node("Relu", "x")
    proto = model.proto()
    proto.opset_import[0].version = 6
    path = tmp_path / "tiny.onnx"
    path.write_bytes(proto.SerializeToString())
    broken(path, "operator set: got 6; expected at least 7")


@pytest.mark.parametrize("content", [b"", b"neither\nof\nthem", bytes(1000)])
def test_no_model(tmp_path, content):
    path = tmp_path / "none.onnx"
    path.write_bytes(content)
    broken(path, "got a damaged file .*; expected a whole ONNX model|operator set: got 0")


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match=r"onnx: got no such package; expected it installed, by pip install fastdw\[onnx\]"):
        read_onnx(tmp_path / "none.onnx")
