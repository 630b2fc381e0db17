"""Weights of other frameworks in fastdw's layouts, and batch normalisation folded into them.

fastdw's layouts, to which everything here converts:

    depthwise  [kernel_h, kernel_w, channels, multiplier], output channel c*multiplier + m
    pointwise  [in_channels, out_channels]
    conv       [kernel_h, kernel_w, in_channels, out_channels]
    dense      [in_channels, out_channels]
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from fastdw import arguments
from fastdw.arguments import GivenArray, error, shown
from fastdw.packing import aligned_empty
from fastdw.problem import CONV, DENSE, DEPTHWISE, POINTWISE
from fastdw.request import check_weight_shape

KINDS = (DEPTHWISE, POINTWISE, CONV, DENSE)
FLOATS = ("float16", "bfloat16", "float32", "float64")

# The shape of each kind, what it is for a filter of one dimension, and which axes of the former have length 1.
OUTPUTS_FIRST = {
    DEPTHWISE: ("[channels*multiplier, 1, kernel_h, kernel_w] or [channels*multiplier, 1, kernel_w]", (1,)),
    POINTWISE: ("[out_channels, in_channels, 1, 1] or [out_channels, in_channels, 1]", (2, 3)),
    CONV: ("[out_channels, in_channels, kernel_h, kernel_w] or [out_channels, in_channels, kernel_w]", ()),
}
OUTPUTS_LAST = {
    DEPTHWISE: ("[kernel_h, kernel_w, channels, multiplier] or [kernel_w, channels, multiplier]", ()),
    POINTWISE: ("[1, 1, in_channels, out_channels] or [1, in_channels, out_channels]", (0, 1)),
    CONV: ("[kernel_h, kernel_w, in_channels, out_channels] or [kernel_w, in_channels, out_channels]", ()),
}


class _HasArray(Protocol):
    def __array__(self, *args: Any, **keywords: Any) -> Any: ...


Floats = GivenArray | _HasArray


def from_torch(weight: Floats, kind: str, *, multiplier: int = 1) -> np.ndarray:
    """The weight of a PyTorch layer in fastdw's layout.

    kind         PyTorch's layer and shape                                                 result
    "depthwise"  Conv2d, groups=in_channels: [channels*multiplier, 1, kernel_h, kernel_w]  [kernel_h, kernel_w, channels, multiplier]
    "pointwise"  Conv2d, kernel_size=1: [out, in, 1, 1]                                    [in, out]
    "conv"       Conv2d, groups=1: [out, in, kernel_h, kernel_w]                           [kernel_h, kernel_w, in, out]
    "dense"      Linear: [out, in]                                                         [in, out]

    A weight of Conv1d has no kernel_h: it counts as 1.

    Args:
      weight: a tensor that requires no grad, on the CPU, or an array; float16, bfloat16, float32 or float64, finite in float32.
      kind: one of the above.
      multiplier: output channels of each input channel of a depthwise layer, out_channels // in_channels: its weight does not tell.

    Returns:
      A new contiguous float32 array that starts on a 64-byte boundary.

    Raises:
      TypeError: weight is not an array of those types, or requires grad.
      ValueError: kind is unknown; the shape is not of the kind; multiplier does not fit; numbers that are not finite in float32.
    """
    _check_kind(kind)
    return _from_outputs_first(weight, kind, multiplier, transposed=True)


def from_onnx(weight: Floats, kind: str, *, multiplier: int = 1, transposed: bool = False) -> np.ndarray:
    """The weight of an ONNX operator in fastdw's layout: onnx.numpy_helper.to_array(initializer).

    kind         ONNX's operator and shape                                                result
    "depthwise"  Conv, group=channels: [channels*multiplier, 1, kernel_h, kernel_w]       [kernel_h, kernel_w, channels, multiplier]
    "pointwise"  Conv, kernel_shape=[1, 1]: [out, in, 1, 1]                               [in, out]
    "conv"       Conv, group=1: [out, in, kernel_h, kernel_w]                             [kernel_h, kernel_w, in, out]
    "dense"      MatMul, Gemm: [in, out]; with transposed, Gemm of transB=1: [out, in]    [in, out]

    A weight of a one-dimensional Conv has no kernel_h: it counts as 1. Gemm's alpha is not applied.

    Args:
      weight, kind: as for from_torch.
      multiplier: output channels of each input channel of a depthwise Conv, which the weight does not tell: len(weight) // group.
      transposed: a dense weight is [out, in].

    Returns, raises: as for from_torch.
    """
    _check_kind(kind)
    if arguments.flag(transposed, "transposed") and kind != DENSE:
        raise error("transposed", "True", f"False, as the kind is {shown(kind)}")
    return _from_outputs_first(weight, kind, multiplier, transposed)


def from_keras(weight: Floats, kind: str) -> np.ndarray:
    """A kernel of a Keras layer in fastdw's layout.

    kind         Keras' kernel and shape                                                     result
    "depthwise"  depthwise_kernel: [kernel_h, kernel_w, channels, multiplier]                the same
    "pointwise"  Conv2D(kernel_size=1).kernel, pointwise_kernel: [1, 1, in, out]             [in, out]
    "conv"       Conv2D.kernel: [kernel_h, kernel_w, in, out]                                the same
    "dense"      Dense.kernel: [in, out]                                                     the same

    A separable layer has two kernels, each of its own kind. A kernel of a one-dimensional layer has no kernel_h: it counts as 1.

    Args:
      weight: a variable, or an array; float16, bfloat16, float32 or float64, finite in float32.
      kind: one of the above.

    Returns, raises: as for from_torch.
    """
    _check_kind(kind)
    weight = _floats(weight, "weight")
    if kind == DENSE:
        return _rounded(_matrix(weight, "[in_channels, out_channels]"))
    weight = _filter(weight, *OUTPUTS_LAST[kind], row_axis=0)
    return _rounded(weight[0, 0] if kind == POINTWISE else weight)


def fold_batch_norm(
    weight: Floats,
    bias: Floats | None,
    mean: Floats,
    variance: Floats,
    gamma: Floats | None = None,
    beta: Floats | None = None,
    epsilon: float = 1e-3,
    *,
    kind: str,
) -> tuple[np.ndarray, np.ndarray]:
    """The weight and bias of a layer that does what the given layer and the batch normalisation after it do.

    scale[o] = gamma[o] / sqrt(variance[o] + epsilon)
    weight'[..., o] = weight[..., o] * scale[o]
    bias'[o] = (bias[o] - mean[o]) * scale[o] + beta[o]

    Computed in float64 and rounded to float32 once.

    Args:
      weight: of the layer, in fastdw's layout for its kind; float16, bfloat16, float32 or float64, as all arrays here.
      bias: [out_channels] of the layer (depthwise: channels*multiplier); None counts as zeros.
      mean, variance: [out_channels], the running statistics; no variance is negative.
      gamma, beta: [out_channels], what the normalisation multiplies by and adds; None counts as ones and zeros.
      epsilon: the normalisation's own: 1e-3 in Keras, 1e-5 in PyTorch and ONNX unless it was set.
      kind: "depthwise", "pointwise", "conv" or "dense", of the layer.

    Returns:
      (weight, bias): new contiguous float32 arrays, the weight of the given shape.

    Raises:
      TypeError: an array is not of those types, or requires grad; epsilon is not a number.
      ValueError: kind is unknown; shapes that do not fit; a negative variance; variance + epsilon is 0; numbers that are not finite.
    """
    _check_kind(kind)
    weight = _floats(weight, "weight")
    check_weight_shape("weight", kind, weight.shape)
    channel_shape = weight.shape[2:] if kind == DEPTHWISE else weight.shape[-1:]
    n_channels = math.prod(channel_shape)
    mean = _per_channel(mean, "mean", n_channels)
    bias = np.zeros(n_channels) if bias is None else _per_channel(bias, "bias", n_channels)
    gamma = np.ones(n_channels) if gamma is None else _per_channel(gamma, "gamma", n_channels)
    beta = np.zeros(n_channels) if beta is None else _per_channel(beta, "beta", n_channels)
    variance = _variance(variance, n_channels, _epsilon(epsilon))
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance)
        weight = weight.astype(np.float64) * scale.reshape(channel_shape)
        bias = (bias - mean) * scale + beta
    return _rounded(weight, "weight", " once folded"), _rounded(bias, "bias", " once folded")


def _from_outputs_first(weight: Any, kind: str, multiplier: int, transposed: bool) -> np.ndarray:
    """From [outputs, inputs, ...] of PyTorch and ONNX; transposed: a dense weight is so too."""
    multiplier = arguments.integer(multiplier, "multiplier", 1)
    if multiplier != 1 and kind != DEPTHWISE:
        raise error("multiplier", str(multiplier), f"1, as the kind is {kind!r}")
    weight = _floats(weight, "weight")
    if kind == DENSE:
        matrix = _matrix(weight, "[out_channels, in_channels]" if transposed else "[in_channels, out_channels]")
        return _rounded(matrix.T if transposed else matrix)
    weight = _filter(weight, *OUTPUTS_FIRST[kind], row_axis=2)
    if kind == POINTWISE:
        return _rounded(weight[:, :, 0, 0].T)
    if kind == CONV:
        return _rounded(weight.transpose(2, 3, 1, 0))
    n_outputs, _, *kernel = weight.shape
    if n_outputs % multiplier:
        raise error("weight", f"{n_outputs} output channels", f"a multiple of {multiplier}, the multiplier")
    return _rounded(weight.reshape(n_outputs // multiplier, multiplier, *kernel).transpose(2, 3, 0, 1))


def _check_kind(kind: Any) -> None:
    if not isinstance(kind, str):
        raise arguments.wrong_type("kind", kind, f"one of {', '.join(map(repr, KINDS))}")
    if kind not in KINDS:
        raise error("kind", shown(kind), f"one of {', '.join(map(repr, KINDS))}")


def _matrix(weight: np.ndarray, wanted: str) -> np.ndarray:
    if weight.ndim != 2 or 0 in weight.shape:
        raise error("weight", f"shape {shown(weight.shape)}", wanted)
    return weight


def _filter(weight: np.ndarray, wanted: str, ones: tuple[int, ...], row_axis: int) -> np.ndarray:
    """A weight of two filter dimensions; one that has a single one gets kernel_h = 1."""
    image = np.expand_dims(weight, row_axis) if weight.ndim == 3 else weight
    if image.ndim != 4 or 0 in image.shape or any(image.shape[axis] != 1 for axis in ones):
        raise error("weight", f"shape {shown(weight.shape)}", wanted)
    return image


def _per_channel(value: Any, name: str, n_channels: int) -> np.ndarray:
    array = _floats(value, name).astype(np.float64)
    if array.shape != (n_channels,):
        raise error(name, f"shape {shown(array.shape)}", f"({n_channels},), a number for each output channel of weight")
    if not np.isfinite(array).all():
        raise error(name, "infinities or NaNs", "finite numbers")
    return array


def _variance(value: Any, n_channels: int, epsilon: float) -> np.ndarray:
    """variance + epsilon, above zero."""
    variance = _per_channel(value, "variance", n_channels)
    least = int(variance.argmin())
    if variance[least] < 0:
        raise error("variance", f"{variance[least]} for channel {least}", "numbers of at least 0")
    if variance[least] + epsilon == 0:
        raise error("variance", f"0 for channel {least} with epsilon 0", "variance + epsilon above 0")
    return variance + epsilon


def _epsilon(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise arguments.wrong_type("epsilon", value, "a number of at least 0")
    if not 0 <= value <= arguments.LARGEST:
        raise error("epsilon", shown(value), "a finite number of at least 0")
    return float(value)


def _floats(value: Any, name: str) -> np.ndarray:
    """An array of a type that FLOATS names."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: got a masked array; expected an array without a mask")
    if getattr(value, "requires_grad", False) is True:
        raise TypeError(f"{name}: got a {type(value).__name__} that requires grad; expected one that does not: {name}.detach()")
    if str(getattr(value, "dtype", None)) == "torch.bfloat16":  # PyTorch gives NumPy none: NumPy has no such type of its own
        value = value.float()
    array = _viewed(value, name)
    if array.dtype.name not in FLOATS:
        raise TypeError(f"{name}: got {array.dtype.name}; expected {', '.join(FLOATS[:-1])} or {FLOATS[-1]}")
    return array


def _viewed(value: Any, name: str) -> np.ndarray:
    try:
        if hasattr(value, "__array_interface__") or hasattr(value, "__array__"):
            return np.asarray(value)
        if hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
    except Exception as reason:
        got = f"a {type(value).__name__} that NumPy cannot view ({shown(str(reason))})"
        raise TypeError(f"{name}: got {got}; expected a floating-point array on the CPU") from reason
    raise TypeError(f"{name}: got {type(value).__name__}; expected a floating-point array")


def _rounded(values: np.ndarray, name: str = "weight", when: str = "") -> np.ndarray:
    """A new float32 array."""
    rounded = aligned_empty(values.shape)
    with np.errstate(all="ignore"):
        rounded[...] = values
    if not np.isfinite(rounded).all():
        raise error(name, f"numbers that are infinite or NaN in float32{when}", "finite numbers")
    return rounded
