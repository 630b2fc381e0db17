"""Files that are no model, or a damaged one, or one with something that is not supported: one clear error each, nothing else."""

import re
import sys

import numpy as np
import pytest
from tiny_models import TANH, TinyModel, conv, random

from fastdw.networks import load_tflite, read_tflite


def broken(build, folder, message: str) -> None:
    model = build()
    with pytest.raises(ValueError, match=message) as caught:
        load_tflite(model.save(folder))
    assert "\n" not in str(caught.value)
    assert str(folder / "tiny.tflite") in str(caught.value)


def test_an_unsupported_operator_is_named_with_its_index(tmp_path):
    def build():
        model = TinyModel(1, 4)
        x = model.operator("RELU", [0], (1, 4))
        model.operator("ABS", [x], (1, 4))
        return model

    broken(build, tmp_path, "operator 1 ABS: got an operator that is not supported; expected one of CONV_2D, ")


def test_an_unsupported_fused_activation(tmp_path):
    def build():
        model = TinyModel(1, 5, 4, 6)
        conv(model, 0, (1, 5, 4, 7), random(7, 1, 1, 6), activation=TANH)
        return model

    broken(build, tmp_path, "operator 0 CONV_2D: fused activation: got 4, ")


def test_a_tensor_that_only_a_later_operator_gives(tmp_path):
    def build():
        model = TinyModel(1, 4)
        first = model.operator("RELU", [0], (1, 4))
        second = model.operator("RELU", [first], (1, 4))
        model.graph.operators[0].inputs = [second]
        return model

    broken(build, tmp_path, "operator 0 RELU: tensor 2: got an input that no operator before gives; ")


def test_a_tensor_given_twice(tmp_path):
    def build():
        model = TinyModel(1, 4)
        first = model.operator("RELU", [0], (1, 4))
        model.operator("RELU6", [first], (1, 4))
        model.graph.operators[1].outputs = [first]
        model.graph.outputs = [first]
        return model

    broken(build, tmp_path, "operator 1 RELU6: tensor 1: got a second operator that gives it; ")


@pytest.mark.parametrize("index", [99, -2, 2**31 - 1])
def test_a_dangling_tensor(tmp_path, index):
    def build():
        model = TinyModel(1, 4)
        model.operator("RELU", [0], (1, 4))
        model.graph.operators[0].inputs = [index]
        return model

    broken(build, tmp_path, f"got a damaged file .tensor {index} of 2.; ")


def test_a_constant_with_too_few_bytes(tmp_path):
    def build():
        model = TinyModel(1, 5, 4, 6)
        conv(model, 0, (1, 5, 4, 7), random(7, 1, 1, 6))
        model.graph.tensors[1].shape = [7, 1, 1, 2**30]
        return model

    broken(build, tmp_path, "operator 0 CONV_2D: tensor 1: got 168 bytes; expected 30064771072 for FLOAT32 ")


@pytest.mark.parametrize("shape", [(1, 5, 4, 8), (1, 5, 2**20, 7), (1, 4)])
def test_an_output_of_another_shape(tmp_path, shape):
    def build():
        model = TinyModel(1, 5, 4, 6)
        conv(model, 0, shape, random(7, 1, 1, 6))
        return model

    broken(build, tmp_path, "operator 0 CONV_2D: tensor 2: got shape .*; expected .1, 5, 4, 7., ")


def test_an_input_too_large_for_any_memory(tmp_path):
    def build():
        model = TinyModel(1, 2**15, 2**15, 64)
        model.operator("RELU", [0], (1, 2**15, 2**15, 64))
        return model

    broken(build, tmp_path, "input: got shape .*; expected at most ")


def test_a_weight_that_is_not_finite(tmp_path):
    def build():
        model = TinyModel(1, 5, 4, 6)
        weight = random(7, 1, 1, 6)
        weight[2, 0, 0, 3] = np.nan
        conv(model, 0, (1, 5, 4, 7), weight)
        return model

    broken(build, tmp_path, "operator 0 CONV_2D: tensor 1: got a value that is not finite; ")


def test_two_inputs(tmp_path):
    def build():
        model = TinyModel(1, 4)
        other = model.tensor((1, 4))
        model.operator("ADD", [0, other], (1, 4), options="AddOptions")
        model.graph.inputs = [0, other]
        return model

    broken(build, tmp_path, "inputs: got 2; expected 1")


def test_a_mean_over_channels(tmp_path):
    def build():
        model = TinyModel(1, 4, 4, 3)
        model.operator("MEAN", [0, model.constant([3], np.int32)], (1, 4, 4), options="ReducerOptions")
        return model

    broken(build, tmp_path, "operator 0 MEAN: axes: got .3,. of 4; expected height and width, ")


def test_grouped_convolution(tmp_path):
    def build():
        model = TinyModel(1, 5, 4, 6)
        conv(model, 0, (1, 5, 4, 8), random(8, 3, 3, 2))
        return model

    broken(build, tmp_path, "operator 0 CONV_2D: conv_2d_0: input: got shape .1, 5, 4, 6.; expected 2 channels, ")


def test_no_operators(tmp_path):
    def build():
        model = TinyModel(1, 4)
        model.graph.outputs = [0]
        return model

    broken(build, tmp_path, "tensor 0: got an output that nothing computes; ")


def refused(path, data: bytes) -> bool:
    """Whether reading fails, which it may only do in one way."""
    path.write_bytes(data)
    try:
        read_tflite(path)
    except ValueError as error:
        message = str(error)
        assert re.fullmatch(rf"{re.escape(str(path))}: .*\bgot .*; expected .*", message), message
        return True
    return False


@pytest.mark.parametrize(
    "data", [b"", b"TFL3", b"\0\0\0\0TFL3", b"\x1c\0\0\0TFL3" + bytes(100), b"\xff" * 4 + b"TFL3" + b"\xff" * 1000, b"# A text\n" * 50]
)
def test_a_foreign_file(tmp_path, data):
    assert refused(tmp_path / "foreign.tflite", data)


def test_random_bytes_that_begin_like_a_model(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(200):
        assert refused(tmp_path / "random.tflite", bytes([*rng.integers(4, 60, 1).tolist(), 0, 0, 0]) + b"TFL3" + rng.bytes(400))


@pytest.mark.parametrize("name", ["cat.bmp", "imagenet_labels.txt", "README.md"])
def test_another_kind_of_file(tmp_path, model_file, name):
    assert refused(tmp_path / "other.tflite", model_file(name).read_bytes())


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_tflite(tmp_path / "none.tflite")


def test_without_the_tflite_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(ImportError, match=r"^tflite: got no such package; expected it installed, by pip install fastdw\[models\]$"):
        load_tflite(tmp_path / "any.tflite")
