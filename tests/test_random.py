"""Random problems: every result bit for bit as promised, within the bound of float64, and the same however it is asked for."""

from collections.abc import Callable

import numpy as np
import oracle
import problems
import pytest
import stated_order

import fastdw
from fastdw.kernels.spec import registry

CHUNK = 50
SHOWN = 3  # failures of a chunk
COUNTS = {
    "depthwise_conv2d": 600,
    "pointwise_conv2d": 350,
    "conv2d": 350,
    "separable_conv2d": 300,
    "inverted_residual": 200,
    "dense": 150,
    "global_average_pool2d": 50,
}


def pytest_generate_tests(metafunc):
    if "call" not in metafunc.fixturenames:
        return
    chosen, seed = metafunc.config.getoption("--case"), metafunc.config.getoption("--seed")
    if chosen:
        only = problems.named(chosen)
        chunks = [(only.call, only.seed, 1)]
    else:
        chunks = [(call, seed + start, CHUNK) for call, count in COUNTS.items() for start in range(0, count, CHUNK)]
    names = [f"{call}-{start}..{start + count - 1}" for call, start, count in chunks]
    metafunc.parametrize("call, start, count", chunks, ids=names)


def test_random_problems(call, start, count):
    failures = []
    for case in problems.cases(call, start, count):
        try:
            check(case)
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}\n{case.rerun(__file__)}")
    if failures:
        pytest.fail(f"{len(failures)} of {count} problems, such as\n\n" + "\n\n".join(failures[:SHOWN]), pytrace=False)


def test_every_registered_kernel_is_drawn():
    drawn = {plan.kernel for call in COUNTS for case in problems.cases(call, 0, 100) for plan in case.plans()}
    assert drawn >= {spec.name for spec in registry().values() if not spec.is_reference}


def check(case: problems.Case) -> np.ndarray:
    """The result, when all is well."""
    before = {name: array.copy() for name, array in case.arrays.items()}
    y = into_out(case, lambda out: case.run(fastdw, out=out))
    for name, array in case.arrays.items():
        np.testing.assert_array_equal(array, before[name], err_msg=f"{name} was written")
    stated_order.check_bits(y, case.run(stated_order), "against the stated order")
    expected = case.run(oracle)
    expected.check(y)
    if case.is_exact:
        expected.check_exact(y)
    ways = OTHER_WAYS[case.call]
    way = ways[case.seed % len(ways)]
    stated_order.check_bits(way(case), y, f"another way: {way.__name__}")
    return y


def into_out(case: problems.Case, run: Callable) -> np.ndarray:
    """The result of run(out), written through a view into a buffer whose rest must stay NaN."""
    assert run(case.out) is case.out
    y = case.out.copy()
    case.out[...] = np.nan
    buffer = case.out if case.out.base is None else case.out.base
    assert np.isnan(buffer).all(), "written outside out"
    return y


# ---- other ways to ask for the same bits ----


def new_array(case):
    y = case.run(fastdw)
    assert y.ctypes.data % 64 == 0
    assert y.flags.c_contiguous
    return y


def one_thread(case):
    return case.run(fastdw, threads=1)


def two_threads(case):
    return case.run(fastdw, threads=2)


def image_by_image(case):
    y = []
    for n in range(len(case.arrays["x"])):
        images = {name: array[n : n + 1] for name, array in case.arrays.items() if name in ("x", "residual")}
        y.append(case.run(fastdw, **images))
    return np.concatenate(y)


def packed_weights(case):
    return case.run(fastdw, **case.packed())


def prepared_layer(case):
    given = case.given()
    x, residual = given.pop("x"), case.arrays.get("residual")
    layer = fastdw.prepare(getattr(fastdw, case.call), x.shape, **given | ({} if residual is None else {"residual": True}))
    return layer(x, residual=residual)


ALWAYS = [new_array, image_by_image, prepared_layer, one_thread, two_threads]
OTHER_WAYS = {call: [*ALWAYS, packed_weights] if problems.PACKERS[call] else ALWAYS for call in problems.CALLS}
