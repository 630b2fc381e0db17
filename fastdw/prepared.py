"""prepare(): everything about a call decided and packed once, so that each call costs little above its kernel."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastdw import arguments, explaining, fused, gather, gather_blocks
from fastdw.arguments import GivenWeight
from fastdw.call import Call, Step, bind
from fastdw.gather_blocks import Stages
from fastdw.kernels.spec import BlockPlan, Plan
from fastdw.packing import BLANK, PackedWeight, aligned_empty
from fastdw.planner import check_strict, plan_in_program
from fastdw.problem import DENSE, POINTWISE, POOL
from fastdw.request import Request, Strided, contiguous, problem_of, strided

KEPT_LAYOUTS = 64
Steps = tuple[tuple[Step, dict[str, np.ndarray]], ...]


class Prepared:
    """It never changes and holds addresses: a copy is the layer itself, and there is nothing to pickle."""

    def __copy__(self):
        return self

    def __deepcopy__(self, memo: dict):
        return self

    def __reduce__(self):
        raise TypeError(f"{type(self).__name__}: got pickled; a prepared layer belongs to its process: prepare it there")


class PreparedCall(Prepared, ABC):
    """layer(x, out=None, residual=None). Safe to call from several threads at once."""

    def __init__(self, x_shape: tuple[int, ...], out_shape: tuple[int, ...], takes_residual: bool):
        from fastdw import arrays

        self.x_shape, self.out_shape, self._takes_residual = x_shape, out_shape, takes_residual
        third = (out_shape if takes_residual else x_shape, False)
        self._expected = arrays.expectation((x_shape, False), third, (out_shape, True))
        self._is_usual, self._expected_address = arrays.usual(), self._expected.ctypes.data
        self._bound: dict[tuple, Any] = {}  # for other strides than usual

    @abstractmethod
    def _bind(self, x: Strided, residual: Strided | None, out: Strided | None) -> Callable[..., np.ndarray]:
        """Machine code for some strides: called with x, residual and out."""

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
        layouts = strided(x), None if residual is None else strided(residual), None if out is None else strided(out)
        bound = self._bound.get(layouts)
        if bound is None:
            if len(self._bound) >= KEPT_LAYOUTS:
                self._bound.clear()
            bound = self._bound[layouts] = self._bind(*layouts)
        return bound(x, residual, out)


class PreparedLayer(PreparedCall):
    """A prepared call of one operator."""

    def __init__(self, request: Request, weight: np.ndarray, bias: np.ndarray | None):
        self._request, self._weight, self._bias = request, weight, bias
        call = bind(request)
        check_strict(call.plan)
        self.plan: Plan = call.plan
        self._usual = call
        self._bias_or_blank = BLANK if bias is None else bias
        super().__init__(request.x.shape, call.out_shape, request.residual is not None)

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None, residual: np.ndarray | None = None) -> np.ndarray:
        if out is None:
            out = aligned_empty(self.out_shape, self.x_shape)
        third = x if residual is None else residual
        if (residual is None) is self._takes_residual or not self._is_usual(x, third, out, self._expected_address):
            return self._call_any(x, out, residual)
        call = self._usual
        if call.launch(x, self._weight, self._bias_or_blank, third, out, call.address, 1, call.function, call.tasks, call.workers):
            return call(x, self._weight, self._bias, residual, out)  # finds out whether out really overlaps an input
        return out

    @property
    def steps(self) -> Steps:
        """The layer on contiguous arrays as steps of a program, with the arrays they need but x, residual and out."""
        names = ("x", "weight", "bias", "out")
        bound = bind(self._request, plan_in_program)
        step = fused.step_of(bound, {name: (name, 0) for name in names})
        return ((step, {"weight": self._weight, "bias": self._bias_or_blank}),)

    def keep(self, parameters: Sequence[dict[str, np.ndarray]]) -> None:
        """Use copies of the steps' parameters from now on, so that the layer's own need no memory."""
        self._weight, self._bias_or_blank = parameters[0]["weight"], parameters[0]["bias"]
        self._bias = None if self._bias is None else self._bias_or_blank

    def _bind(self, x: Strided, residual: Strided | None, out: Strided | None) -> Callable[..., np.ndarray]:
        call: Call = bind(self._request._replace(x=x, residual=residual, out=out))
        check_strict(call.plan)
        return lambda x, residual, out: call(x, self._weight, self._bias, residual, out)

    def __repr__(self) -> str:
        return f"PreparedLayer({self.x_shape} -> {self.out_shape}, {self.plan.id})"


class BlockLayer(PreparedCall):
    """A prepared call of several convolutions. What lies between them is kept for the next call."""

    def __init__(self, stages: Stages, takes_residual: bool):
        first, *_, last = stages.requests
        self._adds_x = last.residual is not None
        if takes_residual:
            stages = stages._replace(requests=(*stages.requests[:-1], last._replace(residual=contiguous(problem_of(last)[1]))))
        self._stages = stages
        block = gather_blocks.bound(stages)
        self.plan: BlockPlan = block.plan
        self._block = block
        self._usual = fused.Pool(block, stages.weights, stages.biases)
        super().__init__(first.x.shape, block.out_shape, takes_residual)

    @property
    def plans(self) -> tuple[Plan, ...]:
        return self.plan.plans

    @property
    def steps(self) -> Steps:
        """As of PreparedLayer; they need an array "scratch" of plan.scratch_bytes too."""
        given = fused.parameters(self._stages.weights, self._stages.biases)
        return tuple((step, given) for step in self._block.steps)

    def keep(self, parameters: Sequence[dict[str, np.ndarray]]) -> None:
        """As of PreparedLayer."""
        given, stages = parameters[0], self._stages
        weights = tuple(given[f"weight{k}"] for k in range(len(stages.weights)))
        biases = tuple(None if bias is None else given[f"bias{k}"] for k, bias in enumerate(stages.biases))
        self._stages = stages._replace(weights=weights, biases=biases)
        self._usual = fused.Pool(self._block, weights, biases)

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None, residual: np.ndarray | None = None) -> np.ndarray:
        if out is None:
            out = aligned_empty(self.out_shape, self.x_shape)
        third = x if residual is None else residual
        if (residual is None) is self._takes_residual or not self._is_usual(x, third, out, self._expected_address):
            return self._call_any(x, out, residual)
        return self._usual(x, third, out)

    def _bind(self, x: Strided, residual: Strided | None, out: Strided | None) -> Callable[..., np.ndarray]:
        first, *between, last = self._stages.requests
        requests = (first._replace(x=x), *between, last._replace(residual=x if self._adds_x else residual, out=out))
        pool = fused.Pool(fused.bind(requests, gate=self._stages.gate), self._stages.weights, self._stages.biases)

        def call(x: np.ndarray, residual: np.ndarray | None, out: np.ndarray | None) -> np.ndarray:
            out = aligned_empty(self.out_shape, self.x_shape) if out is None else out
            return pool(x, x if residual is None else residual, out)

        return call

    def __repr__(self) -> str:
        return f"BlockLayer({self.x_shape} -> {self.out_shape}, {', '.join(plan.id for plan in self.plans)})"


class SignalLayer(Prepared):
    """A prepared call on signals [batch, length, channels]: layer(x, out=None)."""

    def __init__(self, images: PreparedLayer | BlockLayer):
        self._images = images
        self.x_shape, self.out_shape = ((shape[0], *shape[2:]) for shape in (images.x_shape, images.out_shape))

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        x = arguments.array(x, "x")
        if x.shape != self.x_shape:
            raise arguments.error("x", f"shape {x.shape}", f"{self.x_shape}, which the layer was prepared for")
        if out is None:
            return self._images(x[:, None])[:, 0]
        gather.check_writable(out, self.out_shape)
        self._images(x[:, None], out[:, None])
        return out

    def __repr__(self) -> str:
        return f"SignalLayer({self.x_shape} -> {self.out_shape})"


def prepare(
    function: Callable, x_shape: tuple[int, ...], *weights: GivenWeight | None, residual: bool = False, **keywords: Any
) -> Callable[..., np.ndarray]:
    """A call with everything decided and packed: layer = prepare(fastdw.depthwise_conv2d, x.shape, weight, bias, stride=2).

    Args:
      function: a public call of fastdw, but depthwise_conv3d.
      x_shape: the shape of x.
      weights, keywords: the call's own arguments, but x, residual and out. Weights are packed, and biases copied.
      residual: True for a layer that is called with a residual; of inverted_residual, for one that adds x.

    Returns:
      layer(x, out=None, residual=None): the same bits as the call. It takes x with any strides; contiguous is quickest.

    Raises:
      TypeError, ValueError: as for the call.
    """
    kind = explaining.kind_of(function)
    if not isinstance(x_shape, (tuple, list)):
        raise arguments.wrong_type("x_shape", x_shape, "a tuple of integers")
    shape = tuple(arguments.integer(extent, "x_shape", 1) for extent in x_shape)
    if "out" in keywords:
        raise TypeError("out: got an array; expected it at each call: layer(x, out)")
    given = dict(inspect.signature(function).bind(contiguous(shape), *weights, **keywords).arguments)
    if arguments.flag(residual, "residual") and "residual" not in inspect.signature(function).parameters:
        raise TypeError(f"residual: got True; {function.__name__} takes none")
    given = explaining.as_images(function, given)
    if kind in explaining.BLOCKS:
        adds_x = kind == explaining.INVERTED_RESIDUAL
        stages = explaining.BLOCKS[kind](**given, packed=True, **({"residual": residual} if adds_x else {}))
        layer: PreparedLayer | BlockLayer = BlockLayer(stages, residual and not adds_x)
    else:
        layer = _prepare(kind, **given, residual=residual)
    return SignalLayer(layer) if function in explaining.AS_IMAGES else layer


def _prepare(kind: str, x: Strided, weight: Any = None, bias: Any = None, *, residual: bool = False, **keywords) -> PreparedLayer:
    if kind != POOL and not isinstance(weight, PackedWeight):
        weight = gather.pack(POINTWISE if kind == DENSE else kind, weight)
    bias = None if bias is None else arguments.array(bias, "bias").copy()
    request, _, weight, bias, _, _ = gather.gather(kind, x, weight, bias, **keywords)
    if residual:
        request = request._replace(residual=contiguous(problem_of(request)[1]))
    return PreparedLayer(request, weight, bias)
