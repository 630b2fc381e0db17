"""Problems as words."""

from __future__ import annotations

import pytest

from fastdw.problem import CONV, DEPTHWISE, POINTWISE, POOL, Problem
from fastdw.tuning import shapes

PROBLEMS = {
    "depthwise 56x56x128": Problem(DEPTHWISE, 1, 56, 56, 128, 128, (3, 3), padding=((1, 1), (1, 1))),
    "depthwise 9x8x16 kernel=5x3 stride=2x1 dilation=1x2 padding=0x2 multiplier=2 batch=3": Problem(
        DEPTHWISE, 3, 9, 8, 16, 32, (5, 3), (2, 1), (1, 2), ((0, 0), (2, 2))
    ),
    "pointwise 7x7x160 out=960": Problem(POINTWISE, 1, 1, 49, 160, 960),
    "conv 224x224x3 out=32 stride=2": Problem(CONV, 1, 224, 224, 3, 32, (3, 3), (2, 2), padding=((0, 1), (0, 1))),
    "dense 1024 out=1000 batch=2": Problem(POINTWISE, 1, 1, 2, 1024, 1000),
    "pool 7x7x1280": Problem(POOL, 1, 7, 7, 1280, 1280, (7, 7)),
}


@pytest.mark.parametrize("text", PROBLEMS)
def test_words(text):
    assert shapes.problem(text) == PROBLEMS[text]


BAD = {
    "": "expected one of depthwise, pointwise",
    "deepwise 56x56x128": "expected one of depthwise, pointwise",
    "depthwise": "expected depthwise HEIGHTxWIDTHxCHANNELS",
    "depthwise 56x56": "expected depthwise HEIGHTxWIDTHxCHANNELS",
    "depthwise 56x0x128": "expected depthwise HEIGHTxWIDTHxCHANNELS",
    "depthwise 56x56x128 kernel": "got 'kernel'",
    "depthwise 56x56x128 kernel=-3": "kernel: got -3",
    "depthwise 56x56x128 kernel=3x3x3": "kernel: got 3x3x3",
    "depthwise 56x56x128 out=3": "got 'out=3'",
    "depthwise 56x56x128 padding=all": "padding: got all",
    "depthwise 5x5x128 kernel=9 padding=valid": "at most 5",
    "pointwise 7x7x160": "no out=CHANNELS",
    "pointwise 7x7x160 out=0": "out: got 0",
    "pool 99999999x99999999x99999999": "at most",
}


@pytest.mark.parametrize("text", BAD)
def test_words_that_state_no_problem(text):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as error:
        shapes.problem(text)
    assert BAD[text] in str(error.value)


def test_a_file_names_the_line(tmp_path):
    path = tmp_path / "shapes.txt"
    path.write_text("# layers\n\ndepthwise 56x56x128  # the first\npointwise 7x7x160 out=960\n")
    assert shapes.read_file(path) == [PROBLEMS["depthwise 56x56x128"], PROBLEMS["pointwise 7x7x160 out=960"]]
    path.write_text("depthwise 56x56x128\n\npointwise 7x7\n")
    with pytest.raises(ValueError, match=rf"^{path}:3: shape: got 'pointwise 7x7'; expected pointwise HEIGHT"):
        shapes.read_file(path)
    path.write_text("# nothing\n")
    with pytest.raises(ValueError, match="no shapes"):
        shapes.read_file(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="no text"):
        shapes.read_file(path)
