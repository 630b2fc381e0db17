"""From the arguments of a call of several convolutions to one request a stage and their arrays, all checked before any runs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastdw import fused
from fastdw.arguments import GivenActivation, GivenArray, GivenWeight, array, error, flag, wrong_type
from fastdw.call import refuse_overlap
from fastdw.gather import Gathered, gather, pack
from fastdw.packing import PackedWeight, aligned_empty
from fastdw.planner import check_strict
from fastdw.problem import DENSE, DEPTHWISE, POINTWISE, POOL
from fastdw.request import Request, contiguous, problem_of

DEPTHWISE_NAMES = ("depthwise_weight", "depthwise_bias", "depthwise_activation")
POINTWISE_NAMES = ("pointwise_weight", "pointwise_bias", "activation")
EXPAND_NAMES = ("expand_weight", "expand_bias", "expand_activation")
SQUEEZE_NAMES = ("squeeze_weight", "squeeze_bias", "squeeze_activation")
EXCITE_NAMES = ("excite_weight", "excite_bias", "excite_activation")
PROJECT_NAMES = ("project_weight", "project_bias", "activation")


class Stages(NamedTuple):
    """The stages of a block: each with its request, weight and bias; the arrays that only the first and the last have."""

    requests: tuple[Request, ...]
    names: tuple[tuple[str, str, str], ...]  # of weight, bias and activation
    x: Any
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray | None, ...]
    residual: np.ndarray | None
    out: np.ndarray | None
    gate: tuple[Request, ...] = ()  # of squeeze and excitation: the mean and two dense layers, whose arrays stand behind the stages'


class SqueezeExcite(NamedTuple):
    """The gate of a block, which every pixel is multiplied with, of the mean m over the image:

    gate[n, c] = excite_activation(excite_bias[c] + sum over s of a[n, s] * excite_weight[s, c])
    a[n, s] = squeeze_activation(squeeze_bias[s] + sum over c of m[n, c] * squeeze_weight[c, s])

    Weights, biases and activations as dense takes them. Source: Hu et al. 2018, arXiv:1709.01507.
    """

    squeeze_weight: GivenWeight
    excite_weight: GivenWeight
    squeeze_bias: GivenArray | None = None
    excite_bias: GivenArray | None = None
    squeeze_activation: GivenActivation = "relu"
    excite_activation: GivenActivation = "hard_sigmoid"


def separable(
    x,
    depthwise_weight,
    pointwise_weight,
    depthwise_bias=None,
    pointwise_bias=None,
    stride=1,
    padding="valid",
    dilation=1,
    depthwise_activation=None,
    activation=None,
    residual=None,
    out=None,
    threads=None,
    packed: bool = False,
) -> Stages:
    window = {"stride": stride, "padding": padding, "dilation": dilation}
    stages = [
        (DEPTHWISE, depthwise_weight, depthwise_bias, depthwise_activation, DEPTHWISE_NAMES, window),
        (POINTWISE, pointwise_weight, pointwise_bias, activation, POINTWISE_NAMES, {}),
    ]  # fmt: skip
    residual = None if residual is None else array(residual, "residual")
    return chain(x, stages, residual, out, threads, packed)


def inverted_residual(
    x,
    expand_weight,
    depthwise_weight,
    project_weight,
    expand_bias=None,
    depthwise_bias=None,
    project_bias=None,
    stride=1,
    padding="same",
    dilation=1,
    expand_activation="relu6",
    depthwise_activation="relu6",
    activation=None,
    squeeze_excite=None,
    residual=False,
    out=None,
    threads=None,
    packed: bool = False,
) -> Stages:
    window = {"stride": stride, "padding": padding, "dilation": dilation}
    stages = [
        (POINTWISE, expand_weight, expand_bias, expand_activation, EXPAND_NAMES, {}),
        (DEPTHWISE, depthwise_weight, depthwise_bias, depthwise_activation, DEPTHWISE_NAMES, window),
        (POINTWISE, project_weight, project_bias, activation, PROJECT_NAMES, {}),
    ]  # fmt: skip
    if expand_weight is None:
        if expand_bias is not None:
            raise error("expand_bias", "an array", "None where expand_weight is None")
        del stages[0]
    found = chain(x, stages, flag(residual, "residual"), out, threads, packed)
    return found if squeeze_excite is None else gated(found, squeeze_excite, threads, packed)


def gated(stages: Stages, given: Any, threads: Any, packed: bool) -> Stages:
    """Stages with squeeze and excitation before the last."""
    if not isinstance(given, SqueezeExcite):
        raise wrong_type("squeeze_excite", given, "a fastdw.SqueezeExcite, or None")
    batch, _, _, channels = shape = stages.requests[-1].x.shape
    layers: list[tuple] = [
        (DENSE, given.squeeze_weight, given.squeeze_bias, given.squeeze_activation, SQUEEZE_NAMES, {}),
        (DENSE, given.excite_weight, given.excite_bias, given.excite_activation, EXCITE_NAMES, {}),
    ]  # fmt: skip
    dense = chain(contiguous((batch, channels)), layers, None, None, threads, packed)
    if (found := problem_of(dense.requests[-1])[1][1]) != channels:
        raise error("excite_weight", f"{found} output channels", f"{channels}, which the depthwise convolution gives")
    mean = gather(POOL, contiguous(shape), threads=threads)[0]
    return stages._replace(
        names=stages.names + dense.names,
        weights=stages.weights + dense.weights,
        biases=stages.biases + dense.biases,
        gate=(mean, *dense.requests),
    )


def chain(x, given: list[tuple], residual: Any, out: Any, threads: Any, packed: bool) -> Stages:
    """residual: an array; True for x itself; False or None for none. packed: weights are packed and biases copied."""
    found: list[Gathered] = []
    for kind, weight, bias, activation, names, window in given:
        if packed:
            weight = weight if isinstance(weight, PackedWeight) else pack(POINTWISE if kind == DENSE else kind, weight, name=names[0])
            bias = None if bias is None else array(bias, names[1]).copy()
        source, last = (contiguous(problem_of(found[-1][0])[1]), {}) if found else (x, {})
        if len(found) == len(given) - 1:
            last = {"out": out, "residual": None if isinstance(residual, bool) else residual}
        found.append(gather(kind, source, weight, bias, activation=activation, threads=threads, names=names, **window, **last))
    requests, arrays, weights, biases, residuals, outs = zip(*found, strict=True)
    if residual is True:
        requests = (*requests[:-1], requests[-1]._replace(residual=requests[0].x))
        residuals = (arrays[0],)
    return Stages(requests, tuple(names for *_, names, _ in given), arrays[0], weights, biases, residuals[-1], outs[-1])


def run(stages: Stages) -> np.ndarray:
    block = bound(stages)
    out = stages.out
    if out is None:
        out = aligned_empty(block.out_shape, stages.x.shape)
    else:
        parameters: dict[str, np.ndarray] = {}
        for (weight, bias, _), *values in zip(stages.names, stages.weights, stages.biases, strict=True):
            parameters |= {name: value for name, value in zip((weight, bias), values, strict=True) if value is not None}
        refuse_overlap(out, **parameters)
    residual = stages.x if stages.residual is None else stages.residual
    return fused.Pool(block, stages.weights, stages.biases)(stages.x, residual, out)


def bound(stages: Stages) -> fused.Block:
    """Machine code for the stages, none of it the reference kernel's where that is refused."""
    block = fused.bind(stages.requests, gate=stages.gate)
    for plan in block.plan.plans:
        check_strict(plan)
    return block
