"""Wrong calls of fastdw.weights: each is refused with the argument, what came and what was wanted."""

import re

import numpy as np
import pytest

import fastdw
from fastdw.weights import fold_batch_norm, from_keras, from_onnx, from_torch


def ones(*shape: int, dtype=np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


def fold(**changes):
    keywords = {"weight": ones(3, 3, 4, 1), "bias": None, "mean": ones(4), "variance": ones(4), "kind": "depthwise"} | changes
    return lambda: fold_batch_norm(**keywords)


def with_value(value: float) -> np.ndarray:
    return np.array([1.0, 1.0, value, 1.0])


KINDS = "one of 'depthwise', 'pointwise', 'conv', 'dense'"
TYPES = "float16, bfloat16, float32 or float64"
WRONG = {
    "kind": (lambda: from_torch(ones(4, 4), "linear"), ValueError, f"kind: got 'linear'; expected {KINDS}"),
    "kind-onnx": (lambda: from_onnx(ones(4, 4), "gemm", transposed=True), ValueError, f"kind: got 'gemm'; expected {KINDS}"),
    "kind-keras": (lambda: from_keras(ones(4, 4), "Dense"), ValueError, f"kind: got 'Dense'; expected {KINDS}"),
    "kind-type": (lambda: from_keras(ones(4, 4), None), TypeError, f"kind: got None; expected {KINDS}"),
    "kind-fold": (fold(kind="pool"), ValueError, f"kind: got 'pool'; expected {KINDS}"),
    "list": (lambda: from_torch([[1.0]], "dense"), TypeError, "weight: got list; expected a floating-point array"),
    "none": (lambda: from_keras(None, "dense"), TypeError, "weight: got NoneType; expected a floating-point array"),
    "text": (lambda: from_keras(np.array([["1"]]), "dense"), TypeError, f"weight: got str32; expected {TYPES}"),
    "int8": (lambda: from_keras(ones(4, 4, dtype=np.int8), "dense"), TypeError, f"weight: got int8; expected {TYPES}"),
    "bool": (lambda: from_onnx(ones(4, 4, dtype=bool), "dense"), TypeError, f"weight: got bool; expected {TYPES}"),
    "complex": (lambda: from_torch(ones(4, 4, dtype=complex), "dense"), TypeError, f"weight: got complex128; expected {TYPES}"),
    "object": (lambda: from_torch(ones(4, 4, dtype=object), "dense"), TypeError, f"weight: got object; expected {TYPES}"),
    "masked": (
        lambda: from_torch(np.ma.masked_array(ones(4, 4)), "dense"),
        TypeError,
        "weight: got a masked array; expected an array without a mask",
    ),
    "packed": (
        fold(weight=fastdw.pack_depthwise(ones(3, 3, 4, 1))),
        TypeError,
        "weight: got PackedWeight; expected a floating-point array",
    ),
    "nan": (
        lambda: from_torch(np.full((2, 2), np.nan), "dense"),
        ValueError,
        "weight: got numbers that are infinite or NaN in float32; expected finite numbers",
    ),
    "beyond-float32": (
        lambda: from_torch(np.full((2, 2), 1e39), "dense"),
        ValueError,
        "weight: got numbers that are infinite or NaN in float32; expected finite numbers",
    ),
    "torch-depthwise": (
        lambda: from_torch(ones(3, 3, 8, 1), "depthwise"),
        ValueError,
        "weight: got shape (3, 3, 8, 1); expected [channels*multiplier, 1, kernel_h, kernel_w] or [channels*multiplier, 1, kernel_w]",
    ),
    "torch-pointwise": (
        lambda: from_torch(ones(8, 4, 3, 3), "pointwise"),
        ValueError,
        "weight: got shape (8, 4, 3, 3); expected [out_channels, in_channels, 1, 1] or [out_channels, in_channels, 1]",
    ),
    "torch-conv": (
        lambda: from_torch(ones(8, 4), "conv"),
        ValueError,
        "weight: got shape (8, 4); expected [out_channels, in_channels, kernel_h, kernel_w] or [out_channels, in_channels, kernel_w]",
    ),
    "torch-dense": (
        lambda: from_torch(ones(8, 4, 1, 1), "dense"),
        ValueError,
        "weight: got shape (8, 4, 1, 1); expected [out_channels, in_channels]",
    ),
    "onnx-dense": (lambda: from_onnx(ones(8), "dense"), ValueError, "weight: got shape (8,); expected [in_channels, out_channels]"),
    "keras-depthwise": (
        lambda: from_keras(ones(3, 3), "depthwise"),
        ValueError,
        "weight: got shape (3, 3); expected [kernel_h, kernel_w, channels, multiplier] or [kernel_w, channels, multiplier]",
    ),
    "keras-pointwise": (
        lambda: from_keras(ones(8, 4, 1, 1), "pointwise"),
        ValueError,
        "weight: got shape (8, 4, 1, 1); expected [1, 1, in_channels, out_channels] or [1, in_channels, out_channels]",
    ),
    "keras-conv": (
        lambda: from_keras(ones(4, 8), "conv"),
        ValueError,
        "weight: got shape (4, 8); expected [kernel_h, kernel_w, in_channels, out_channels] or [kernel_w, in_channels, out_channels]",
    ),
    "empty": (lambda: from_torch(ones(0, 4), "dense"), ValueError, "weight: got shape (0, 4); expected [out_channels, in_channels]"),
    "multiplier": (
        lambda: from_torch(ones(10, 1, 3, 3), "depthwise", multiplier=4),
        ValueError,
        "weight: got 10 output channels; expected a multiple of 4, the multiplier",
    ),
    "multiplier-zero": (
        lambda: from_onnx(ones(10, 1, 3, 3), "depthwise", multiplier=0),
        ValueError,
        "multiplier: got 0; expected an integer of at least 1",
    ),
    "multiplier-type": (
        lambda: from_onnx(ones(10, 1, 3, 3), "depthwise", multiplier=2.0),
        TypeError,
        "multiplier: got 2.0; expected an integer of at least 1",
    ),
    "multiplier-kind": (
        lambda: from_torch(ones(10, 1, 3, 3), "conv", multiplier=2),
        ValueError,
        "multiplier: got 2; expected 1, as the kind is 'conv'",
    ),
    "transposed": (
        lambda: from_onnx(ones(4, 4, 1, 1), "pointwise", transposed=True),
        ValueError,
        "transposed: got True; expected False, as the kind is 'pointwise'",
    ),
    "transposed-type": (lambda: from_onnx(ones(4, 4), "dense", transposed=1), TypeError, "transposed: got 1; expected True or False"),
    "fold-weight": (
        fold(weight=ones(4, 4)),
        ValueError,
        "weight: got shape (4, 4); expected [kernel_h, kernel_w, channels, multiplier] or [kernel_h, kernel_w, channels]",
    ),
    "fold-mean": (fold(mean=ones(3)), ValueError, "mean: got shape (3,); expected (4,), a number for each output channel of weight"),
    "fold-mean-none": (fold(mean=None), TypeError, "mean: got NoneType; expected a floating-point array"),
    "fold-gamma": (
        fold(gamma=ones(4, 1)),
        ValueError,
        "gamma: got shape (4, 1); expected (4,), a number for each output channel of weight",
    ),
    "fold-channels": (
        fold(weight=ones(3, 3, 4, 2)),
        ValueError,
        "mean: got shape (4,); expected (8,), a number for each output channel of weight",
    ),
    "fold-bias": (fold(bias=ones(1)), ValueError, "bias: got shape (1,); expected (4,), a number for each output channel of weight"),
    "fold-beta": (fold(beta=ones(4, dtype=int)), TypeError, f"beta: got int64; expected {TYPES}"),
    "fold-infinite": (fold(beta=with_value(np.inf)), ValueError, "beta: got infinities or NaNs; expected finite numbers"),
    "fold-nan": (fold(variance=with_value(np.nan)), ValueError, "variance: got infinities or NaNs; expected finite numbers"),
    "fold-variance": (fold(variance=with_value(-0.5)), ValueError, "variance: got -0.5 for channel 2; expected numbers of at least 0"),
    "fold-zero": (
        fold(variance=with_value(0), epsilon=0),
        ValueError,
        "variance: got 0 for channel 2 with epsilon 0; expected variance + epsilon above 0",
    ),
    "fold-epsilon": (fold(epsilon=-1e-3), ValueError, "epsilon: got -0.001; expected a finite number of at least 0"),
    "fold-epsilon-nan": (fold(epsilon=float("nan")), ValueError, "epsilon: got nan; expected a finite number of at least 0"),
    "fold-epsilon-type": (fold(epsilon="1e-3"), TypeError, "epsilon: got '1e-3'; expected a number of at least 0"),
    "fold-beyond-weight": (
        fold(gamma=with_value(1e39)),
        ValueError,
        "weight: got numbers that are infinite or NaN in float32 once folded; expected finite numbers",
    ),
    "fold-beyond-bias": (
        fold(beta=with_value(1e39)),
        ValueError,
        "bias: got numbers that are infinite or NaN in float32 once folded; expected finite numbers",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_call_is_refused(wrong):
    call, error, message = WRONG[wrong]
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        call()


def test_the_kind_of_a_fold_must_be_said():
    with pytest.raises(TypeError, match="kind"):
        fold_batch_norm(ones(3, 3, 4, 1), None, ones(4), ones(4))
