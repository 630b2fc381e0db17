"""From the arguments of a public call to a request and its arrays: each argument checked by itself, raw weights packed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import numpy as np

from fastdw import arguments, packing
from fastdw.call import Call, bind
from fastdw.forks import WHOLE
from fastdw.kernels.panels import panels_for
from fastdw.limits import usable_cores
from fastdw.machine import host
from fastdw.notices import warn_once
from fastdw.packing import PackedWeight
from fastdw.planner import check_strict
from fastdw.problem import DEPTHWISE, POOL
from fastdw.request import Request, Strided, Weight, check_weight_shape, contiguous

NAMES = ("weight", "bias", "activation")  # of the arguments, for errors
BOUND_CALLS = 1024  # kept for calls that come again

Gathered = tuple[Request, Any, Any, Any, Any, Any]  # the request and x, weight, bias, residual, out


def gather(
    kind: str,
    x,
    weight=None,
    bias=None,
    stride=1,
    padding="valid",
    dilation=1,
    activation=None,
    residual=None,
    out=None,
    threads=None,
    keepdims=False,
    names: tuple[str, str, str] = NAMES,
) -> Gathered:
    if not isinstance(x, Strided):
        x = arguments.array(x, "x")
    weight, weight_key = _weight(kind, weight, names[0])
    if bias is not None:
        bias = _bias(bias, names[1])
    if residual is not None:
        residual = arguments.array(residual, "residual")
    if out is not None:
        check_writable(out)
    request = Request(
        kind,
        Strided(x.shape, x.strides),
        weight_key,
        None if bias is None else bias.shape,
        None if residual is None else Strided(residual.shape, residual.strides),
        None if out is None else Strided(out.shape, out.strides),
        arguments.pair(stride, "stride"),
        arguments.padding(padding),
        arguments.pair(dilation, "dilation"),
        arguments.activation(activation, names[2]),
        _threads(threads),
        arguments.flag(keepdims, "keepdims"),
        names[0],
        names[1],
    )
    return request, x, weight, bias, residual, out


def run(gathered: Gathered) -> np.ndarray:
    request, *arrays = gathered
    return checked_call(request)(*arrays)


def checked_call(request: Request) -> Call:
    call = _bound(request)
    if call.plan.is_reference:
        check_strict(call.plan)
    return call


@lru_cache(maxsize=BOUND_CALLS)
def _bound(request: Request) -> Call:
    return bind(request)


def forget_calls() -> None:
    """Bind calls anew: plans have changed."""
    _bound.cache_clear()


def _weight(kind: str, weight: Any, name: str) -> tuple[np.ndarray, Weight]:
    if kind == POOL:
        return packing.BLANK, Weight((), ())
    if isinstance(weight, PackedWeight):
        return weight.data, Weight(weight.shape, weight.strides, weight.panel, weight.lanes, weight.kind)
    weight = arguments.array(weight, name)
    if weight.ndim == 2 and weight.strides[1] == 4:
        strides = weight.strides
    else:
        weight = np.ascontiguousarray(weight)
        strides = (
            contiguous(weight.shape).strides if 1 in weight.shape else weight.strides
        )  # NumPy's of an axis of length 1 may be anything
    check_finite(weight, name)
    return weight, Weight(weight.shape, strides)


def _bias(bias: Any, name: str) -> np.ndarray:
    bias = np.ascontiguousarray(arguments.array(bias, name))
    check_finite(bias, name)
    return bias


def check_finite(values: np.ndarray, name: str) -> None:
    if values.ndim == 2 and not values.flags.c_contiguous:
        finite = all(_compiled_finite()(row, row.size) for row in values)
    else:
        finite = _compiled_finite()(values, values.size)
    if not finite:
        raise arguments.error(name, "infinities or NaNs", "finite numbers")


@cache
def _compiled_finite() -> Callable[[np.ndarray, int], bool]:
    with WHOLE:
        from fastdw import arrays

        return arrays.finite()


def pack(kind: str, weight: Any, flush_subnormals: bool = False, name: str = "weight") -> PackedWeight:
    """Check a raw weight and lay it out."""
    weight = _checked_raw(weight, kind, flush_subnormals, name)
    if kind == DEPTHWISE:
        return packing.lay_depthwise(weight)
    return packing.lay_panels(kind, weight, panels_for(weight.shape[-1], host()))


def _checked_raw(weight: Any, kind: str, flush_subnormals: bool, name: str) -> np.ndarray:
    if isinstance(weight, PackedWeight):
        raise TypeError(f"{name}: got a packed weight; expected the raw array")
    weight = arguments.array(weight, name)
    check_weight_shape(name, kind, weight.shape)
    if not np.isfinite(weight).all():
        raise arguments.error(name, "infinities or NaNs", "finite numbers")
    return packing.flushed(weight) if arguments.flag(flush_subnormals, "flush_subnormals") else weight


def check_writable(out: Any, shape: tuple[int, ...] | None = None) -> None:
    """What out must be; its shape too, where that is known."""
    if type(out) is not np.ndarray:
        raise TypeError(f"out: got {type(out).__name__}; expected a float32 NumPy array")
    arguments.array(out, "out")
    if not out.flags.writeable:
        raise arguments.error("out", "a read-only array", "a writable one")
    if shape is not None and out.shape != shape:
        raise arguments.error("out", f"shape {arguments.shown(out.shape)}", f"{shape}, the shape of the result")


def _threads(threads: Any) -> int:
    """How many threads a call may use as things are now."""
    if threads is None:
        return usable_cores()
    if type(threads) is int and threads == 1:
        return 1
    wanted, limit = arguments.thread_count(threads), usable_cores()
    if wanted > limit:
        warn_once(("threads", wanted, limit), "threads: got %d, and %d can be used; %d are", wanted, limit, limit)
    return min(wanted, limit)
