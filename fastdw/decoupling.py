"""Regular convolutions as sums of depthwise-separable ones, after training and without data.

For one input channel c a regular weight is a matrix of filter taps by output channels. Its singular value decomposition

    weight[:, :, c, :] = sum over t of depthwise[:, :, c, t] * pointwise[c*terms + t, :]

is exact with min(kernel_h * kernel_w, out_channels) terms, and the best there is with fewer. Each term is a depthwise filter
followed by one row of a pointwise weight: Guo et al., Network Decoupling, BMVC 2018, arXiv:1808.05517.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fastdw.cost as cost
from fastdw import arguments
from fastdw.arguments import GivenActivation, GivenArray, GivenPadding, GivenPair
from fastdw.call import plan_of, refuse_overlap
from fastdw.cost import Cost
from fastdw.functional import depthwise_conv2d, pointwise_conv2d, separable_conv2d
from fastdw.gather import gather
from fastdw.problem import CONV, DEPTHWISE, POINTWISE
from fastdw.request import check_weight_shape, contiguous, problem_of

ORDERS = ("depthwise_first", "pointwise_first")


@dataclass(frozen=True, eq=False)
class Decoupled:
    """A regular weight [kernel_h, kernel_w, channels, out_channels] as a sum of depthwise-separable terms.

    depthwise_first: separable_conv2d(x, depthwise, pointwise, None, bias, ...) is the convolution:
      depthwise [kernel_h, kernel_w, channels, terms], pointwise [channels * terms, out_channels].
    pointwise_first: the pointwise convolution gives `terms` images, one behind the other in its channels; each goes through a
      depthwise filter of its own, and they are added up:
      pointwise [channels, terms * out_channels], depthwise [kernel_h, kernel_w, terms * out_channels, 1].

    error: root of the sum of squares of what is missing, relative to that of the weight.
    terms, order: how many, and in which of the two orders; shape: of the regular weight.
    """

    depthwise: np.ndarray = field(repr=False)
    pointwise: np.ndarray = field(repr=False)
    error: float
    terms: int
    order: str
    shape: tuple[int, ...]

    @property
    def most_terms(self) -> int:
        """With so many the sum is exact, up to rounding."""
        return most_terms(self.shape, self.order)

    @property
    def break_even(self) -> float:
        """With this many terms it takes as many multiplications as the regular convolution, at stride 1."""
        taps = self.shape[0] * self.shape[1]
        shared = self.shape[3] if self.order == ORDERS[0] else self.shape[2]
        return taps * shared / (taps + shared)

    def weight(self) -> np.ndarray:
        """The regular weight that the terms add up to, float32."""
        kernel_h, kernel_w, channels, out_channels = self.shape
        if self.order == ORDERS[0]:
            pointwise = self.pointwise.reshape(channels, self.terms, out_channels)
            return np.einsum("pqct,ctn->pqcn", self.depthwise, pointwise)
        depthwise = self.depthwise.reshape(kernel_h, kernel_w, self.terms, out_channels)
        return np.einsum("pqtn,ctn->pqcn", depthwise, self.pointwise.reshape(channels, self.terms, out_channels))

    def cost(
        self, x_shape: Sequence[int], *, stride: GivenPair = 1, padding: GivenPadding = "same", dilation: GivenPair = 1, bias: bool = False
    ) -> Cost:
        """Multiplications, parameters and bytes: arguments and errors as for fastdw.cost.regular."""
        kernel, out_channels = self.shape[:2], self.shape[3]
        window: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
        if self.order == ORDERS[0]:
            parts = [cost.depthwise(x_shape, kernel, multiplier=self.terms, **window)]
            parts.append(cost.pointwise(parts[0].out_shape, out_channels, bias=bias))
        else:
            parts = [cost.pointwise(x_shape, self.terms * out_channels)]
            parts.append(cost.depthwise(parts[0].out_shape, kernel, bias=bias, **window))
        return cost.chain(f"decoupled, {self.terms} terms", parts)

    def conv2d(
        self,
        x: GivenArray,
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
        """The convolution, as conv2d with the regular weight: arguments, result and errors are those of conv2d."""
        window: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "threads": threads}
        if self.order == ORDERS[0]:
            return separable_conv2d(
                x, self.depthwise, self.pointwise, None, bias, activation=activation, residual=residual, out=out, **window
            )
        out_channels = self.shape[3]
        request, image, *_ = gather(POINTWISE, x, self.pointwise, threads=threads)
        shape = (*problem_of(request)[1][:3], out_channels)
        of_last = {"activation": activation, "residual": residual, "out": out} | window
        request, _, _, biases, total, _ = gather(DEPTHWISE, contiguous(shape), self.depthwise[:, :, :out_channels], bias, **of_last)
        plan_of(request)
        if out is not None:
            inputs = {"x": image, "bias": biases, "residual": total}
            refuse_overlap(out, **{name: array for name, array in inputs.items() if array is not None})
        images = pointwise_conv2d(image, self.pointwise, threads=threads)
        for term in range(self.terms):
            channels = slice(term * out_channels, (term + 1) * out_channels)
            last: dict[str, Any] = {"bias": biases, "activation": activation, "out": out} if term == self.terms - 1 else {}
            total = depthwise_conv2d(images[..., channels], self.depthwise[:, :, channels], residual=total, **last, **window)
        return total


def decouple(weight: GivenArray, terms: int | None = None, error: float | None = None, *, order: str = ORDERS[0]) -> Decoupled:
    """A regular convolution as a sum of depthwise-separable ones, by the singular values of its weight; no data is needed.

    Args:
      weight: float32 [kernel_h, kernel_w, channels, out_channels], finite.
      terms: how many, from 1 to min(kernel_h * kernel_w, out_channels); None: as many as `error` asks for, else all.
      error: the least number of terms with at most this error, relative to the weight: at least 0, less than 1.
      order: "depthwise_first", which separable_conv2d takes as it is, or "pointwise_first": then one decomposition for each
        output channel, at most min(kernel_h * kernel_w, channels) terms.

    Raises:
      TypeError, ValueError: weight is not float32, not of the shape, or not finite; terms out of range; both terms and error.
    """
    weight = arguments.array(weight, "weight")
    check_weight_shape("weight", CONV, weight.shape)
    if not np.isfinite(weight).all():
        raise arguments.error("weight", "infinities or NaNs", "finite numbers")
    if order not in ORDERS:
        raise arguments.error("order", arguments.shown(order), f"one of {', '.join(map(repr, ORDERS))}")
    most = most_terms(weight.shape, order)
    if terms is not None:
        if error is not None:
            raise arguments.error("error", f"{arguments.shown(error)} and terms={arguments.shown(terms)}", "one of the two")
        if arguments.integer(terms, "terms", 1) > most:
            raise arguments.error("terms", str(terms), f"at most {most}, which are exact for a weight {weight.shape}")

    kernel_h, kernel_w, channels, out_channels = weight.shape
    matrices = weight.astype(np.float64).transpose((2, 0, 1, 3) if order == ORDERS[0] else (3, 0, 1, 2))
    taps, values, others = np.linalg.svd(matrices.reshape(len(matrices), kernel_h * kernel_w, -1), full_matrices=False)
    if terms is None:
        terms = most if error is None else _terms_for(values, _checked_error(error))
    roots = np.sqrt(values[:, :terms])
    taps = taps[:, :, :terms] * roots[:, None]  # [channel, tap, term]
    others = others[:, :terms] * roots[:, :, None]  # [channel, term, other channel]
    if order == ORDERS[0]:
        depthwise = taps.transpose(1, 0, 2).reshape(kernel_h, kernel_w, channels, terms)
        pointwise = others.reshape(channels * terms, out_channels)
    else:
        depthwise = taps.transpose(1, 2, 0).reshape(kernel_h, kernel_w, terms * out_channels, 1)
        pointwise = others.transpose(2, 1, 0).reshape(channels, terms * out_channels)
    depthwise, pointwise = (np.ascontiguousarray(factor, np.float32) for factor in (depthwise, pointwise))
    found = Decoupled(depthwise, pointwise, 0.0, int(terms), order, weight.shape)
    return Decoupled(depthwise, pointwise, _relative(found.weight(), weight), int(terms), order, weight.shape)


def most_terms(shape: tuple[int, ...], order: str = ORDERS[0]) -> int:
    """How many terms make a weight of this shape exact."""
    return min(math.prod(shape[:2]), shape[3] if order == ORDERS[0] else shape[2])


def _checked_error(error: Any) -> float:
    wanted = "a number of at least 0 and less than 1"
    found = arguments.real(error, "error", wanted)
    if not 0 <= found < 1:
        raise arguments.error("error", arguments.shown(error), wanted)
    return found


def _terms_for(values: np.ndarray, error: float) -> int:
    """The least number of terms that leaves at most error**2 of the squares out. values: [channel, term], descending."""
    squares = (values**2).sum(axis=0)
    left_out = squares[::-1].cumsum()[::-1]  # by terms: what is lost with 0, 1, 2, ...
    enough = np.append(left_out[1:], 0.0) <= error**2 * left_out[0]
    return int(enough.argmax()) + 1


def _relative(approximation: np.ndarray, weight: np.ndarray) -> float:
    missing, size = (float(np.linalg.norm(array.astype(np.float64).ravel())) for array in (approximation - weight, weight))
    return missing / size if size else 0.0
