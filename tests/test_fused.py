"""Blocks in strips: the bits of their convolutions one after the other, whatever the strips, and no stray access."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import oracle
import problems
import pytest
import stated_order
from guard import guarded

import fastdw
from fastdw import blockplanner, fused
from fastdw.explaining import BLOCKS, kind_of
from fastdw.gather_blocks import Stages
from fastdw.kernels.spec import BlockPlan
from fastdw.machine import host

CHUNK = 25
PLANS = 3  # drawn for a problem


def stages_of(case: problems.Case, **changes) -> Stages:
    given = case.given(**changes)
    given.pop("squeeze_excite", None)  # strips end before a gate
    return BLOCKS[kind_of(getattr(fastdw, case.call))](**given)


def plans_in_strips(stages: Stages, threads: int) -> list[BlockPlan]:
    problems, _, dense, _ = fused.facts_of(stages.requests)
    return list(blockplanner.space(problems, dense, threads, host()))


def run(stages: Stages, plan: BlockPlan, out: np.ndarray) -> np.ndarray:
    residual = stages.x if stages.residual is None else stages.residual
    return fused.Pool(fused.bind(stages.requests, plan), stages.weights, stages.biases)(stages.x, residual, out)


def apart(stages: Stages, out: np.ndarray) -> np.ndarray:
    problems, plans, _, threads = fused.facts_of(stages.requests)
    return run(stages, blockplanner.one_by_one(problems, plans, threads), out)


@pytest.mark.parametrize("call", ["separable_conv2d", "inverted_residual"])
@pytest.mark.parametrize("start", [0, *(pytest.param(start, marks=pytest.mark.slow) for start in range(CHUNK, 8 * CHUNK, CHUNK))])
def test_any_strips_give_the_same_bits(call, start, monkeypatch):
    """Also between forbidden pages: the arrays and the scratch."""
    monkeypatch.setattr(fused, "aligned_empty", lambda count, *_: guarded(np.full(count, np.nan, np.float32)))
    n_plans = 0
    for case in problems.cases(call, start, CHUNK):
        draw = random.Random(case.name)
        end = draw.random() < 0.5
        arrays = {name: guarded(array, end) for name, array in case.arrays.items()}
        stages = stages_of(case, **arrays, out=guarded(case.out, end), threads=2)
        plans = [plan for threads in (1, 2) for plan in plans_in_strips(stages, threads)]
        if not plans:
            continue
        expected = apart(stages, stages.out).copy()
        for plan in draw.sample(plans, min(PLANS, len(plans))):
            stages.out[...] = np.nan
            run(stages, plan, stages.out)
            stated_order.check_bits(stages.out, expected, f"{plan.cut}, {plan.threads} threads\n{case.rerun(__file__)}")
            n_plans += 1
    assert n_plans > CHUNK


X = np.random.default_rng(0).standard_normal((2, 70, 69, 24), np.float32)
WEIGHTS = [np.random.default_rng(k).standard_normal(shape, np.float32) for k, shape in enumerate([(24, 96), (3, 3, 96), (96, 24)])]
BIASES = [np.random.default_rng(k).standard_normal(shape, np.float32) for k, shape in enumerate([(96,), (96,), (24,)])]


def composed(x: np.ndarray) -> np.ndarray:
    y = fastdw.pointwise_conv2d(x, WEIGHTS[0], BIASES[0], activation="relu6")
    y = fastdw.depthwise_conv2d(y, WEIGHTS[1], BIASES[1], padding="same", activation="relu6")
    return fastdw.pointwise_conv2d(y, WEIGHTS[2], BIASES[2], residual=x)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_default_plan_is_strips_and_gives_the_bits_of_the_calls(threads):
    keywords = {"residual": True, "threads": threads}
    plan = fastdw.explain(fastdw.inverted_residual, X, *WEIGHTS, *BIASES, **keywords)
    assert plan.cut is not None
    assert plan.cut.chunks >= threads
    stated_order.check_bits(fastdw.inverted_residual(X, *WEIGHTS, *BIASES, **keywords), composed(X), str(plan.cut))
    layer = fastdw.prepare(fastdw.inverted_residual, X.shape, *WEIGHTS, *BIASES, **keywords)
    stated_order.check_bits(layer(X), composed(X), "prepared")
    turned = np.ascontiguousarray(X.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    stated_order.check_bits(layer(turned), composed(X), "prepared, other strides")


def test_a_prepared_block_runs_in_several_threads_at_once():
    layer = fastdw.prepare(fastdw.inverted_residual, X.shape, *WEIGHTS, *BIASES, residual=True, threads=1)
    inputs = [X * (k + 1) for k in range(4)]
    expected = [composed(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            for y, wanted in zip(pool.map(layer, inputs), expected, strict=True):
                stated_order.check_bits(y, wanted, "at once")


GATE_SHAPES = [(96, 20), (20, 96), (20,), (96,)]
GATE = fastdw.SqueezeExcite(*(np.random.default_rng(k).standard_normal(shape, np.float32) for k, shape in enumerate(GATE_SHAPES)))


def gated(x: np.ndarray, stride: int, activation: str, gate: fastdw.SqueezeExcite, project) -> np.ndarray:
    """Two convolutions, squeeze and excitation, and the last convolution, one call after the other."""
    y = fastdw.pointwise_conv2d(x, WEIGHTS[0], BIASES[0], activation=activation)
    y = fastdw.depthwise_conv2d(y, WEIGHTS[1], BIASES[1], stride=stride, padding="same", activation=activation)
    return project(y * gate_of(y, gate)[:, None, None])


def gate_of(y: np.ndarray, gate: fastdw.SqueezeExcite) -> np.ndarray:
    squeezed = fastdw.dense(fastdw.global_average_pool2d(y), gate.squeeze_weight, gate.squeeze_bias, activation=gate.squeeze_activation)
    return fastdw.dense(squeezed, gate.excite_weight, gate.excite_bias, activation=gate.excite_activation)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("image", [(2, 70, 69, 24), (2, 9, 8, 24)])
def test_squeeze_and_excitation_gives_the_bits_of_the_calls(image, threads):
    x = np.random.default_rng(1).standard_normal(image, np.float32)
    keywords = {"expand_activation": "relu", "depthwise_activation": "relu", "residual": True, "squeeze_excite": GATE, "threads": threads}
    expected = gated(x, 1, "relu", GATE, lambda y: fastdw.pointwise_conv2d(y, WEIGHTS[2], BIASES[2], residual=x))
    plan = fastdw.explain(fastdw.inverted_residual, x, *WEIGHTS, *BIASES, **keywords)
    assert len(plan.plans) == 6
    assert plan.scratch_bytes >= 4 * 96 * image[0] * image[1] * image[2]
    stated_order.check_bits(fastdw.inverted_residual(x, *WEIGHTS, *BIASES, **keywords), expected, "call")
    layer = fastdw.prepare(fastdw.inverted_residual, image, *WEIGHTS, *BIASES, **keywords)
    stated_order.check_bits(layer(x), expected, "prepared")
    turned = np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    stated_order.check_bits(layer(turned), expected, "prepared, other strides")


def test_squeeze_and_excitation_without_expansion():
    x = np.random.default_rng(1).standard_normal((1, 12, 13, 96), np.float32)
    gate = GATE._replace(squeeze_bias=None, excite_bias=None, squeeze_activation="silu", excite_activation="sigmoid")
    y = fastdw.depthwise_conv2d(x, WEIGHTS[1], BIASES[1], stride=2, padding="same", activation="relu")
    expected = fastdw.pointwise_conv2d(y * gate_of(y, gate)[:, None, None], WEIGHTS[2], BIASES[2], activation=(-1, 1))
    keywords = {"stride": 2, "depthwise_activation": "relu", "activation": (-1, 1), "squeeze_excite": gate}
    given = (x, None, *WEIGHTS[1:], None, *BIASES[1:])
    stated_order.check_bits(fastdw.inverted_residual(*given, **keywords), expected, "no expansion")


def test_squeeze_and_excitation_keeps_to_the_float64_answer():
    x = np.random.default_rng(1).standard_normal((1, 12, 13, 24), np.float32)
    expanded = oracle.pointwise_conv2d(x, WEIGHTS[0], BIASES[0], activation="relu").value
    y = oracle.depthwise_conv2d(expanded, WEIGHTS[1], BIASES[1], padding="same", activation="relu").value
    squeezed = np.maximum(y.mean((1, 2)) @ GATE.squeeze_weight + GATE.squeeze_bias, 0)
    scale = np.clip(squeezed @ GATE.excite_weight + GATE.excite_bias + 3, 0, 6) / 6
    expected = y * scale[:, None, None] @ WEIGHTS[2] + BIASES[2]
    found = fastdw.inverted_residual(x, *WEIGHTS, *BIASES, expand_activation="relu", depthwise_activation="relu", squeeze_excite=GATE)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"residual": 1}, r"^residual: got 1; expected True or False"),
        ({"stride": 2, "residual": True}, r"^residual: got shape \(2, 70, 69, 24\); expected \(2, 35, 35, 24\)"),
        ({"expand_weight": None, "expand_bias": BIASES[0]}, r"^expand_bias: got an array; expected None"),
        ({"expand_weight": WEIGHTS[2]}, r"^expand_weight: got 96 input channels; expected 24"),
        ({"project_weight": WEIGHTS[0]}, r"^project_weight: got 24 input channels; expected 96"),
        ({"project_bias": BIASES[0]}, r"^project_bias: got shape \(96,\); expected \(24,\)"),
        ({"expand_activation": "tan"}, r"^expand_activation: got 'tan'"),
        ({"out": X, "residual": True}, r"^out: got an array that overlaps x"),
        ({"squeeze_excite": tuple(GATE)}, r"^squeeze_excite: got .*; expected a fastdw.SqueezeExcite, or None"),
        ({"squeeze_excite": GATE._replace(squeeze_weight=WEIGHTS[0])}, r"^squeeze_weight: got 24 input channels; expected 96"),
        ({"squeeze_excite": GATE._replace(excite_weight=WEIGHTS[2])}, r"^excite_weight: got 96 input channels; expected 20"),
        (
            {"squeeze_excite": GATE._replace(excite_weight=GATE.excite_weight[:, 1:], excite_bias=None)},
            r"^excite_weight: got 95 output channels; expected 96",
        ),
        ({"squeeze_excite": GATE._replace(excite_bias=BIASES[2])}, r"^excite_bias: got shape \(24,\); expected \(96,\)"),
        ({"squeeze_excite": GATE._replace(squeeze_activation="tan")}, r"^squeeze_activation: got 'tan'"),
    ],
)
def test_inverted_residual_refuses(changes, message):
    given = dict(zip(("expand_weight", "depthwise_weight", "project_weight"), WEIGHTS, strict=True)) | changes
    with pytest.raises((TypeError, ValueError), match=message):
        fastdw.inverted_residual(X, **given)
