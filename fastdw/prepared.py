"""prepare(): everything about a call decided and packed once, so that each call costs little above its kernel."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from fastdw import arguments, functional, gather
from fastdw.call import Call, bind, refuse_overlap
from fastdw.kernels.spec import Plan
from fastdw.packing import BLANK, PackedWeight, aligned_empty
from fastdw.planner import check_strict
from fastdw.problem import DENSE, DEPTHWISE, POINTWISE, POOL
from fastdw.request import Request, Strided, contiguous, problem_of

KEPT_LAYOUTS = 64


class Prepared:
    """A layer never changes and holds addresses: a copy is the layer itself, and there is nothing to pickle."""

    def __copy__(self):
        return self

    def __deepcopy__(self, memo: dict):
        return self

    def __reduce__(self):
        raise TypeError(f"{type(self).__name__}: got pickled; a prepared layer belongs to its process: prepare it there")


class Layer(Prepared):
    """A prepared call: layer(x, out=None, residual=None). Safe to call from several threads at once."""

    def __init__(self, request: Request, weight: np.ndarray, bias: np.ndarray | None):
        self._request, self._weight, self._bias = request, weight, bias
        self._takes_residual = request.residual is not None
        self._calls: dict[tuple, Call] = {}
        call = bind(request)
        from fastdw import launch

        check_strict(call.plan)
        self.plan: Plan = call.plan
        self.x_shape, self.out_shape = request.x.shape, call.out_shape
        self._usual = call
        self._bias_or_blank = BLANK if bias is None else bias
        third = (call.out_shape if self._takes_residual else self.x_shape, False)
        self._expected = launch.expectation((self.x_shape, False), third, (call.out_shape, True))
        self._is_usual, self._expected_address = launch.usual(), self._expected.ctypes.data

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None, residual: np.ndarray | None = None) -> np.ndarray:
        if out is None:
            out = aligned_empty(self.out_shape)
        third = x if residual is None else residual
        if (residual is None) is self._takes_residual or not self._is_usual(x, third, out, self._expected_address):
            return self._call_any(x, out, residual)
        call = self._usual
        if call.launch(x, self._weight, self._bias_or_blank, third, out, call.address, 1, call.function, call.tasks, call.workers):
            return call(x, self._weight, self._bias, residual, out)  # finds out whether out really overlaps an input
        return out

    def _call_any(self, x: Any, out: Any, residual: Any) -> np.ndarray:
        """Other strides than those prepared for, other arrays than NumPy's, a residual, or a mistake."""
        x = arguments.array(x, "x")
        if x.shape != self.x_shape:
            raise arguments.error("x", f"shape {x.shape}", f"{self.x_shape}, which the layer was prepared for")
        if (residual is not None) != self._takes_residual:
            raise arguments.error(
                "residual",
                *("an array", "none: prepare with residual=True to add one")
                if residual is not None
                else ("None", "an array: the layer was prepared with residual=True"),
            )
        if residual is not None:
            residual = arguments.array(residual, "residual")
        if out is not None:
            gather.check_writable(out)
        strides = (
            x.strides,
            None if out is None else (out.shape, out.strides),
            None if residual is None else (residual.shape, residual.strides),
        )
        call = self._calls.get(strides)
        if call is None:
            request = self._request._replace(
                x=Strided(x.shape, x.strides),
                out=None if out is None else Strided(out.shape, out.strides),
                residual=None if residual is None else Strided(residual.shape, residual.strides),
            )
            if len(self._calls) >= KEPT_LAYOUTS:
                self._calls.clear()
            call = self._calls[strides] = bind(request)
        if call.plan.is_reference:
            check_strict(call.plan)
        return call(x, self._weight, self._bias, residual, out)

    def __repr__(self) -> str:
        return f"Layer({self.x_shape} -> {self.out_shape}, {self.plan.id})"


class SeparableLayer(Prepared):
    """A prepared separable_conv2d; the image between its two layers is kept for the next call."""

    def __init__(self, depthwise: Layer, pointwise: Layer):
        self._depthwise, self._pointwise = depthwise, pointwise
        self._spare: list[np.ndarray] = []
        self.plans = (depthwise.plan, pointwise.plan)
        self.x_shape, self.out_shape = depthwise.x_shape, pointwise.out_shape

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None, residual: np.ndarray | None = None) -> np.ndarray:
        try:
            between = self._spare.pop()
        except IndexError:
            between = aligned_empty(self._depthwise.out_shape)
        if out is not None:
            gather.check_writable(out)
            refuse_overlap(out, x=arguments.array(x, "x"))
        result = self._pointwise(self._depthwise(x, between), out, residual)
        self._spare.append(between)
        return result

    def __repr__(self) -> str:
        return f"SeparableLayer({self.x_shape} -> {self.out_shape})"


class SignalLayer(Prepared):
    """A prepared call on signals [batch, length, channels]: layer(x, out=None)."""

    def __init__(self, images: Layer | SeparableLayer):
        self._images = images
        self.x_shape, self.out_shape = ((shape[0], *shape[2:]) for shape in (images.x_shape, images.out_shape))

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        x = arguments.array(x, "x")
        if x.shape != self.x_shape:
            raise arguments.error("x", f"shape {x.shape}", f"{self.x_shape}, which the layer was prepared for")
        if out is None:
            return self._images(x[:, None])[:, 0]
        gather.check_writable(out)
        if out.shape != self.out_shape:
            raise arguments.error("out", f"shape {out.shape}", f"{self.out_shape}, the shape of the result")
        self._images(x[:, None], out[:, None])
        return out

    def __repr__(self) -> str:
        return f"SignalLayer({self.x_shape} -> {self.out_shape})"


def prepare(function: Callable, x_shape: tuple[int, ...], *weights, residual: bool = False, **keywords) -> Callable[..., np.ndarray]:
    """A call with everything decided and packed: layer = prepare(fastdw.depthwise_conv2d, x.shape, weight, bias, stride=2).

    Args:
      function: a public call of fastdw.
      x_shape: the shape of x.
      weights, keywords: the call's own arguments, but x, residual and out. Weights are packed, and biases copied.
      residual: True for a layer that is called with a residual.

    Returns:
      layer(x, out=None, residual=None): the same bits as the call. It takes x with any strides; contiguous is quickest.

    Raises:
      TypeError, ValueError: as for the call.
    """
    kind = functional.kind_of(function)
    if not isinstance(x_shape, (tuple, list)):
        raise arguments.wrong_type("x_shape", x_shape, "a tuple of integers")
    shape = tuple(arguments.integer(extent, "x_shape", 1) for extent in x_shape)
    if "out" in keywords:
        raise TypeError("out: got an array; expected it at each call: layer(x, out)")
    given = dict(inspect.signature(function).bind(contiguous(shape), *weights, **keywords).arguments)
    if arguments.flag(residual, "residual") and "residual" not in inspect.signature(function).parameters:
        raise TypeError(f"residual: got True; {function.__name__} takes none")
    given = functional.as_images(function, given)
    layer = _prepare_separable(**given, residual=residual) if kind == functional.SEPARABLE else _prepare(kind, **given, residual=residual)
    return SignalLayer(layer) if function in functional.AS_IMAGES else layer


def _prepare(
    kind: str, x: Strided, weight: Any = None, bias: Any = None, *, residual: bool = False, names=gather.NAMES, **keywords
) -> Layer:
    if kind != POOL and not isinstance(weight, PackedWeight):
        weight = gather.pack(POINTWISE if kind == DENSE else kind, weight, name=names[0])
    bias = None if bias is None else arguments.array(bias, names[1]).copy()
    request, _, weight, bias, _, _ = gather.gather(kind, x, weight, bias, names=names, **keywords)
    if residual:
        request = request._replace(residual=contiguous(problem_of(request)[1]))
    return Layer(request, weight, bias)


def _prepare_separable(
    x, depthwise_weight, pointwise_weight, depthwise_bias=None, pointwise_bias=None, *, residual=False,
    depthwise_activation=None, activation=None, threads=None, **window,
) -> SeparableLayer:  # fmt: skip
    first = _prepare(
        DEPTHWISE, x, depthwise_weight, depthwise_bias,
        activation=depthwise_activation, threads=threads, names=gather.DEPTHWISE_NAMES, **window,
    )  # fmt: skip
    second = _prepare(
        POINTWISE, contiguous(first.out_shape), pointwise_weight, pointwise_bias,
        residual=residual, activation=activation, threads=threads, names=gather.POINTWISE_NAMES,
    )  # fmt: skip
    return SeparableLayer(first, second)
