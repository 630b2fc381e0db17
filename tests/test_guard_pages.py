"""No call touches a byte outside its arrays: each lies against a page that must not be touched, end and start in turn.

The calls run in a worker process, since a stray load or store ends it; what it announced last is the case that failed.
"""

import os
import subprocess
import sys
from pathlib import Path

import problems
import pytest
import stated_order
from guard import guarded

import fastdw

COUNT = 80  # a call and a side


def pytest_generate_tests(metafunc):
    chosen, seed = metafunc.config.getoption("--case"), metafunc.config.getoption("--seed")
    if chosen:
        only = problems.named(chosen)
        runs = [(only.call, only.seed, 1)]
    else:
        runs = [(call, seed, COUNT) for call in problems.CALLS]
    metafunc.parametrize("call, start, count", runs, ids=[f"{call}-{start}..{start + count - 1}" for call, start, count in runs])


@pytest.mark.parametrize("side", ["end", "start"])
def test_nothing_beside_the_arrays_is_touched(call, start, count, side):
    root = str(Path(fastdw.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-X", "faulthandler", __file__, call, str(start), str(count), side],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    announced = run.stdout.split()
    if run.returncode:
        what = f"signal {-run.returncode}" if run.returncode < 0 else f"exit code {run.returncode}"
        case = problems.named(announced[-1]).rerun(__file__) if announced else "before the first case"
        pytest.fail(f"{what} in {case}\n{run.stderr}", pytrace=False)
    assert len(announced) == count


def work(call: str, start: str, count: str, side: str) -> None:
    for case in problems.cases(call, int(start), int(count)):
        print(case.name, flush=True)
        arrays = {name: guarded(array, side == "end") for name, array in case.arrays.items()}
        threads = {} if call == "global_average_pool2d" else {"threads": 1 + case.seed % 2}
        y = case.run(fastdw, **arrays, out=guarded(case.out, side == "end"), **threads)
        stated_order.check_bits(y, case.run(stated_order), "against the stated order")


if __name__ == "__main__":
    work(*sys.argv[1:])
