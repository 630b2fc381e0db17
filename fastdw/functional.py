"""The public calls: float32 NumPy arrays in NHWC, one function an operator.

For every call y = act((sum + bias) + residual): the sum starts at +0 and takes filter taps row by row, then input channels
ascending, each step one fused multiply-add. So the result is the same to the last bit for any tile, blocking, number of
threads, batch, and for raw or packed weights.

Activations, with the most by which they may differ from their exact value, in units in the last place (ULP):

  (low, high)     min(max(x, low), high), exact; "relu" is (0, inf), "relu6" (0, 6)
  "hard_sigmoid"  min(max(x + 3, 0), 6) / 6                       2 ULP
  "hard_swish"    x * hard_sigmoid(x)                             3 ULP
  "sigmoid"       1 / (1 + exp(-x))                               4 ULP
  "silu"          x * sigmoid(x)                                  4 ULP + 2**-118
  "tanh"          tanh(x)                                         4 ULP
  "gelu"          x * (1 + erf(x / sqrt(2))) / 2                  4 ULP + 2**-25

NaN stays NaN and infinities give the limits. The bits are the same on every instruction set that has fused multiply-add; on others
the error may be 1 ULP more.
"""

from __future__ import annotations

import numpy as np

from fastdw import gather_blocks
from fastdw.arguments import GivenActivation, GivenArray, GivenPadding, GivenPair, GivenWeight
from fastdw.gather import gather, pack, run
from fastdw.packing import PackedWeight
from fastdw.problem import CONV, DENSE, DEPTHWISE, POINTWISE, POOL


def depthwise_conv2d(
    x: GivenArray,
    weight: GivenWeight,
    bias: GivenArray | None = None,
    *,
    stride: GivenPair = 1,
    padding: GivenPadding = "valid",
    dilation: GivenPair = 1,
    activation: GivenActivation = None,
    residual: GivenArray | None = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Depthwise 2-D convolution, NHWC.

    y[n, i, j, c*m + k] = act(bias[c*m + k] + sum over p, q of x[n, i*sh + p*dh - top, j*sw + q*dw - left, c] * weight[p, q, c, k])

    Args:
      x: float32 [batch, height, width, channels]; channel stride 1, other strides free. May hold anything.
      weight: float32 [kernel_h, kernel_w, channels, multiplier] or [kernel_h, kernel_w, channels], finite; or what pack_depthwise returned.
        A raw weight is checked, and copied where it is not contiguous, in every call: pack or prepare what is used often.
      bias: float32 [channels*multiplier], finite; -0 counts as +0.
      stride: one integer or (rows, columns).
      padding: "valid", "same" (TensorFlow's), "same_lower" (ONNX's), an integer, (rows, columns) or ((top, bottom), (left, right)).
      dilation: one integer or (rows, columns).
      activation: None, "relu", "relu6", "hard_sigmoid", "hard_swish", "sigmoid", "silu", "tanh", "gelu", or a clamp (low, high).
      residual: float32 of the result's shape, added before the activation.
      out: float32 of the result's shape, written in place; channel stride 1; must not overlap an input.
      threads: at most so many; None: Numba's current mask.

    Returns:
      float32 [batch, out_h, out_w, channels*multiplier]; `out` itself when given.

    Raises:
      TypeError: an argument is not of its type; an array is not float32.
      ValueError: shapes that do not fit; weights that are not finite; out overlaps an input or is read-only.
    """
    return run(gather(DEPTHWISE, x, weight, bias, stride, padding, dilation, activation, residual, out, threads))


def pointwise_conv2d(
    x: GivenArray,
    weight: GivenWeight,
    bias: GivenArray | None = None,
    *,
    activation: GivenActivation = None,
    residual: GivenArray | None = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Pointwise (1x1) convolution, NHWC.

    y[n, i, j, o] = act(bias[o] + sum over c of x[n, i, j, c] * weight[c, o])

    Args:
      x: float32 [batch, height, width, in_channels]; channel stride 1, other strides free. May hold anything.
      weight: float32 [in_channels, out_channels] or [1, 1, in_channels, out_channels], finite; or what pack_pointwise returned.
      bias, activation, residual, out, threads: as for depthwise_conv2d.

    Returns:
      float32 [batch, height, width, out_channels]; `out` itself when given.

    Raises:
      TypeError, ValueError: as for depthwise_conv2d.
    """
    return run(gather(POINTWISE, x, weight, bias, activation=activation, residual=residual, out=out, threads=threads))


def conv2d(
    x: GivenArray,
    weight: GivenWeight,
    bias: GivenArray | None = None,
    *,
    stride: GivenPair = 1,
    padding: GivenPadding = "valid",
    dilation: GivenPair = 1,
    activation: GivenActivation = None,
    residual: GivenArray | None = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Regular 2-D convolution, NHWC.

    y[n, i, j, o] = act(bias[o] + sum over p, q, c of x[n, i*sh + p*dh - top, j*sw + q*dw - left, c] * weight[p, q, c, o])

    Args:
      x: float32 [batch, height, width, in_channels]; channel stride 1, other strides free. May hold anything.
      weight: float32 [kernel_h, kernel_w, in_channels, out_channels], finite; or what pack_conv2d returned.
      bias, stride, padding, dilation, activation, residual, out, threads: as for depthwise_conv2d.

    Returns:
      float32 [batch, out_h, out_w, out_channels]; `out` itself when given.

    Raises:
      TypeError, ValueError: as for depthwise_conv2d.
    """
    return run(gather(CONV, x, weight, bias, stride, padding, dilation, activation, residual, out, threads))


def separable_conv2d(
    x: GivenArray,
    depthwise_weight: GivenWeight,
    pointwise_weight: GivenWeight,
    depthwise_bias: GivenArray | None = None,
    pointwise_bias: GivenArray | None = None,
    *,
    stride: GivenPair = 1,
    padding: GivenPadding = "valid",
    dilation: GivenPair = 1,
    depthwise_activation: GivenActivation = None,
    activation: GivenActivation = None,
    residual: GivenArray | None = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Depthwise-separable 2-D convolution, NHWC: depthwise_conv2d, then pointwise_conv2d, to the last bit.

    Where it pays the two run strip by strip, and the image between them never exists. Memory between them is allocated for
    the length of the call: explain() states its size as scratch_bytes.

    Args:
      x: float32 [batch, height, width, channels].
      depthwise_weight, depthwise_bias, stride, padding, dilation, depthwise_activation: of the depthwise convolution.
      pointwise_weight, pointwise_bias, activation, residual, out: of the pointwise convolution.
      threads: of both.

    Returns:
      float32 [batch, out_h, out_w, out_channels]; `out` itself when given.

    Raises:
      TypeError, ValueError: as for depthwise_conv2d.
    """
    return gather_blocks.run(
        gather_blocks.separable(
            x, depthwise_weight, pointwise_weight, depthwise_bias, pointwise_bias, stride, padding, dilation,
            depthwise_activation, activation, residual, out, threads,
        )
    )  # fmt: skip


def inverted_residual(
    x: GivenArray,
    expand_weight: GivenWeight | None,
    depthwise_weight: GivenWeight,
    project_weight: GivenWeight,
    expand_bias: GivenArray | None = None,
    depthwise_bias: GivenArray | None = None,
    project_bias: GivenArray | None = None,
    *,
    stride: GivenPair = 1,
    padding: GivenPadding = "same",
    dilation: GivenPair = 1,
    expand_activation: GivenActivation = "relu6",
    depthwise_activation: GivenActivation = "relu6",
    activation: GivenActivation = None,
    squeeze_excite: gather_blocks.SqueezeExcite | None = None,
    residual: bool = False,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """The block of MobileNetV2, NHWC: pointwise_conv2d that expands, depthwise_conv2d, pointwise_conv2d that projects; to the last bit.

    Where it pays the three run strip by strip, and the expanded image never exists. Memory between them is allocated for
    the length of the call: explain() states its size as scratch_bytes.

    Args:
      x: float32 [batch, height, width, channels].
      expand_weight, expand_bias, expand_activation: of the first convolution. expand_weight None: there is none.
      depthwise_weight, depthwise_bias, stride, padding, dilation, depthwise_activation: of the depthwise convolution.
      project_weight, project_bias, activation, out: of the last convolution.
      squeeze_excite: a SqueezeExcite: what the depthwise convolution gives is multiplied with its gate. It needs the mean over the
        image, so only what stands before it runs strip by strip. None: there is none.
      residual: True adds x, before `activation`; x must have the result's shape.
      threads: of all three.

    Returns:
      float32 [batch, out_h, out_w, out_channels]; `out` itself when given.

    Raises:
      TypeError, ValueError: as for depthwise_conv2d.

    Source: Sandler et al. 2018, arXiv:1801.04381.
    """
    return gather_blocks.run(
        gather_blocks.inverted_residual(
            x, expand_weight, depthwise_weight, project_weight, expand_bias, depthwise_bias, project_bias, stride, padding, dilation,
            expand_activation, depthwise_activation, activation, squeeze_excite, residual, out, threads,
        )
    )  # fmt: skip


def dense(
    x: GivenArray,
    weight: GivenWeight,
    bias: GivenArray | None = None,
    *,
    activation: GivenActivation = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Rows times a matrix: y[n, o] = act(bias[o] + sum over c of x[n, c] * weight[c, o])

    Args:
      x: float32 [batch, in_channels]; channel stride 1. May hold anything.
      weight: float32 [in_channels, out_channels], finite; or what pack_pointwise returned.
      bias, activation, out, threads: as for depthwise_conv2d.

    Returns:
      float32 [batch, out_channels]; `out` itself when given.

    Raises:
      TypeError, ValueError: as for depthwise_conv2d.
    """
    return run(gather(DENSE, x, weight, bias, activation=activation, out=out, threads=threads))


def global_average_pool2d(
    x: GivenArray,
    *,
    keepdims: bool = False,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """The mean over each image: y[n, c] = (sum over i, j of x[n, i, j, c]) / (height * width), rows then columns ascending.

    Args:
      x: float32 [batch, height, width, channels]; channel stride 1, other strides free. May hold anything.
      keepdims: return [batch, 1, 1, channels] instead of [batch, channels].
      out, threads: as for depthwise_conv2d.

    Returns:
      float32 [batch, channels] or [batch, 1, 1, channels]; `out` itself when given.

    Raises:
      TypeError, ValueError: as for depthwise_conv2d.
    """
    return run(gather(POOL, x, out=out, threads=threads, keepdims=keepdims))


def pack_depthwise(weight: GivenArray, *, flush_subnormals: bool = False) -> PackedWeight:
    """Lay a depthwise weight [kernel_h, kernel_w, channels(, multiplier)] out for the kernels, once.

    Args:
      weight: float32, finite.
      flush_subnormals: make weights below the smallest normal number zero: they slow x86 down many times.

    Returns:
      What depthwise_conv2d takes in place of the weight. The bits of the results are the same (unless weights were flushed).

    Raises:
      TypeError, ValueError: weight is not float32, not of the shape, or not finite.
    """
    return pack(DEPTHWISE, weight, flush_subnormals)


def pack_pointwise(weight: GivenArray, *, flush_subnormals: bool = False) -> PackedWeight:
    """Lay a pointwise weight [in_channels, out_channels] or [1, 1, in_channels, out_channels] out for the kernels, once.

    Also for dense. Arguments, result and errors as for pack_depthwise.
    """
    return pack(POINTWISE, weight, flush_subnormals)


def pack_conv2d(weight: GivenArray, *, flush_subnormals: bool = False) -> PackedWeight:
    """Lay a regular weight [kernel_h, kernel_w, in_channels, out_channels] out for the kernels, once.

    Arguments, result and errors as for pack_depthwise.
    """
    return pack(CONV, weight, flush_subnormals)
