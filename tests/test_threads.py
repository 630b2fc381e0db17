"""Threads change no bit: large layers on one thread and on two, calls from several Python threads, calls after a fork."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import oracle
import problems
import pytest
import stated_order

import fastdw

LARGE = {
    "depthwise 3x3": ("depthwise_conv2d", (1, 56, 57, 72), [(3, 3, 72, 1)], {"padding": "same", "activation": "relu6"}),
    "depthwise 3x3 stride 2": ("depthwise_conv2d", (1, 75, 61, 96), [(3, 3, 96, 1)], {"padding": "same", "stride": 2}),
    "depthwise 5x5": ("depthwise_conv2d", (1, 28, 29, 120), [(5, 5, 120, 1)], {"padding": "same"}),
    "depthwise low image": ("depthwise_conv2d", (1, 3, 80, 400), [(3, 3, 400, 1)], {"padding": "same"}),
    "pointwise": ("pointwise_conv2d", (1, 29, 28, 96), [(96, 136)], {"activation": "relu"}),
    "pointwise deep": ("pointwise_conv2d", (1, 7, 7, 200), [(200, 333)], {}),
    "stem": ("conv2d", (1, 97, 96, 3), [(3, 3, 3, 32)], {"padding": "same", "stride": 2}),
    "conv 3x3": ("conv2d", (2, 15, 14, 40), [(3, 3, 40, 48)], {"padding": "same"}),
    "separable": ("separable_conv2d", (1, 30, 31, 64), [(3, 3, 64, 1), (64, 96)], {"padding": "same", "depthwise_activation": "relu6"}),
    "dense": ("dense", (1, 1500), [(1500, 1001)], {}),
}


def whole_numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-4, 5, shape).astype(np.float32)


def run(layer: str, functions=fastdw, **keywords) -> np.ndarray:
    call, x_shape, weight_shapes, given = LARGE[layer]
    rng = np.random.default_rng(0)
    arrays = [whole_numbers(rng, *shape) for shape in (x_shape, *weight_shapes)]
    return getattr(functions, call)(*arrays, **given | keywords)


@pytest.mark.parametrize("layer", LARGE)
def test_large_layer_on_one_thread_and_on_two(layer):
    expected = run(layer, oracle)
    expected.check_exact(run(layer, threads=1))
    expected.check_exact(run(layer, threads=2))


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_large_layers_are_planned_for_two_threads():
    for layer, (call, x_shape, weight_shapes, given) in LARGE.items():
        weights = [np.ones(shape, np.float32) for shape in weight_shapes]
        assert fastdw.explain(getattr(fastdw, call), x_shape, *weights, **given, threads=2).threads == 2, layer


@pytest.mark.parametrize("threads", [1, 2])
def test_calls_from_several_python_threads(threads):
    cases = [case for call in problems.CALLS for case in problems.cases(call, 0, 10)]
    layers = list(LARGE) * 3

    def run_case(case: problems.Case) -> np.ndarray:
        return case.run(fastdw, **{} if case.call == "global_average_pool2d" else {"threads": threads})

    with ThreadPoolExecutor(4) as pool:
        many_layers = [pool.submit(run, layer, threads=threads) for layer in layers]
        many_cases = [pool.submit(run_case, case) for case in cases]
        for case, result in zip(cases, many_cases, strict=True):
            stated_order.check_bits(result.result(), case.run(stated_order), repr(case))
        for layer, result in zip(layers, many_layers, strict=True):
            stated_order.check_bits(result.result(), run(layer, threads=1), layer)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_computes_the_same():
    before = run("pointwise", threads=2)
    child = os.fork()
    if child == 0:
        same = False
        try:
            same = np.array_equal(run("pointwise", threads=2), before)
        finally:
            os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(run("pointwise", threads=2), before)
