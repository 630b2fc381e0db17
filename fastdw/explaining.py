"""What a public call would do, and the profile that decides it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from os import PathLike
from typing import Any

from fastdw import arguments, conv1d, functional, fused, gather_blocks, knobs, planner, profile_files
from fastdw.call import plan_of
from fastdw.gather import forget_calls, gather
from fastdw.kernels.spec import BlockPlan, Plan
from fastdw.notices import LOG
from fastdw.packing import flushed
from fastdw.problem import CONV, DENSE, DEPTHWISE, POINTWISE, POOL
from fastdw.request import contiguous

SEPARABLE, INVERTED_RESIDUAL = "separable", "inverted_residual"
BLOCKS: dict[str, Callable[..., gather_blocks.Stages]] = {
    SEPARABLE: gather_blocks.separable,
    INVERTED_RESIDUAL: gather_blocks.inverted_residual,
}
AS_IMAGES: dict[Callable, Callable] = {  # calls that stand for a call on images
    conv1d.depthwise_conv1d: functional.depthwise_conv2d,
    conv1d.separable_conv1d: functional.separable_conv2d,
}
_KINDS = {
    functional.depthwise_conv2d: DEPTHWISE,
    functional.pointwise_conv2d: POINTWISE,
    functional.conv2d: CONV,
    functional.separable_conv2d: SEPARABLE,
    functional.inverted_residual: INVERTED_RESIDUAL,
    functional.dense: DENSE,
    functional.global_average_pool2d: POOL,
}


def explain(function: Callable, *args: Any, **keywords: Any) -> Plan | BlockPlan:
    """How a call would be computed: explain(fastdw.depthwise_conv2d, x, weight, stride=2).

    Args:
      function: a public call of fastdw, but depthwise_conv3d; then its own arguments. In place of x its shape will do.

    Returns:
      The plan, with a readable repr: kernel, tile, blocking, why, flops, bytes, scratch. For several convolutions their plans,
      the strips in which they run, and the scratch between them. A weight that holds subnormal numbers is told as a warning.
    """
    kind = kind_of(function)
    given = inspect.signature(function).bind(*args, **keywords).arguments
    if isinstance(given["x"], (tuple, list)):
        given["x"] = contiguous(tuple(arguments.integer(extent, "x", 1) for extent in given["x"]))
    given = as_images(function, given)
    if kind in BLOCKS:
        stages = BLOCKS[kind](**given)
        plan: Plan | BlockPlan = fused.plan_of(stages.requests, stages.gate)
        weights = dict(zip((names[0] for names in stages.names), stages.weights, strict=True))
    else:
        request, _, weight, *_ = gather(kind, **given)
        plan, weights = plan_of(request)[0], {request.weight_name: weight}
    for name, weight in weights.items():
        if (weight != flushed(weight)).any():
            LOG.warning("%s: holds subnormal numbers, which slow x86 down many times: pack it with flush_subnormals=True", name)
    return plan


def use_profile(profile: str | PathLike | None) -> None:
    """From now on plan with the measured plans of a file. Layers that are prepared already keep their plans.

    Args:
      profile: the path of a profile; "off": the kernels' own choices; None: what FASTDW_PROFILE names, else this machine's own.
        Nothing but the speed of calls depends on it.

    Raises:
      FileNotFoundError: there is no such file.
      fastdw.profile.ProfileError, a ValueError: it is damaged, of another machine or of a newer schema.
    """
    if profile is not None and profile not in knobs.OFF:
        profile = arguments.path(profile, "profile")
        profile_files.read_own(profile)
    profile_files.choose(None if profile is None else str(profile))
    forget_plans()


def forget_plans() -> None:
    """Calls are planned anew: the profile has changed."""
    planner.forget()
    forget_calls()
    fused.bind.cache_clear()


def kind_of(function: Callable) -> str:
    """The kind of problem that a public call states."""
    try:
        return _KINDS[AS_IMAGES.get(function, function)]
    except (KeyError, TypeError):
        names = ", ".join(call.__name__ for call in (*_KINDS, *AS_IMAGES))
        raise TypeError(f"function: got {arguments.shown(function)}; expected one of {names}") from None


def as_images(function: Callable, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name: those of the call on images where it stands for one."""
    return conv1d.as_images(function, given) if function in AS_IMAGES else given
