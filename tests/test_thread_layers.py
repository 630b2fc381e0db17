"""Threads in processes of their own: each threading layer of Numba, forks, masks and limits."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import fastdw

LAYERS = ["omp", "workqueue", "tbb"]
TIMEOUT_SECONDS = 600
two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")

PRELUDE = """
import logging, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import fastdw

warned = []
handler = logging.Handler()
handler.emit = lambda record: warned.append(record.getMessage())
logging.getLogger("fastdw").addHandler(handler)

rng = np.random.default_rng(0)
x = rng.standard_normal((1, 28, 28, 64), np.float32)
depthwise, pointwise = rng.standard_normal((3, 3, 64), np.float32), rng.standard_normal((64, 96), np.float32)

def call(threads=None):
    return fastdw.separable_conv2d(x, depthwise, pointwise, padding="same", threads=threads)

expected = call(threads=1)
layer = fastdw.prepare(fastdw.separable_conv2d, x.shape, depthwise, pointwise, padding="same", threads=2)

def check(y):
    assert y.tobytes() == expected.tobytes()

def uses_two_threads():
    return fastdw.explain(fastdw.separable_conv2d, x, depthwise, pointwise, padding="same", threads=2).threads == 2
"""


@cache
def can_load(layer: str) -> bool:
    code = "from numba.np.ufunc import parallel; parallel._launch_threads()"
    return (
        subprocess.run([sys.executable, "-c", code], env=os.environ | {"NUMBA_THREADING_LAYER": layer}, capture_output=True).returncode == 0
    )


def in_process(code: str, layer: str = "default", before: str = "", **environment: str) -> str:
    """What the code prints. A layer that Numba cannot load here is a skip that says so."""
    if layer in LAYERS and not before and not can_load(layer):
        pytest.skip(f"Numba's {layer} layer cannot be loaded here")
    path = str(Path(fastdw.__file__).parent.parent)
    run = subprocess.run(
        [sys.executable, "-P", "-c", before + PRELUDE + code],
        env=os.environ | {"PYTHONPATH": path, "NUMBA_THREADING_LAYER": layer, "OPENBLAS_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert run.returncode == 0, f"ended with {run.returncode}\n{run.stderr}"
    return run.stdout.strip()


CONCURRENT = """
assert uses_two_threads()
start = threading.Barrier(4)

def work(number):
    start.wait()
    for i in range(50):
        check(call(threads=2) if (i + number) % 2 else layer(x))

with ThreadPoolExecutor(4) as pool:
    list(pool.map(work, range(4)))

import numba
print(numba.threading_layer())
"""


@two_cores
@pytest.mark.parametrize("layer", LAYERS)
def test_several_python_threads_may_call_at_once(layer):
    assert in_process(CONCURRENT, layer) == layer


FORK = """
check(call(threads=2))
child = os.fork()
if child == 0:
    try:
        check(call(threads=2))
        check(layer(x))
        check(call())
        os._exit(0)
    finally:
        os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
check(call(threads=2))
"""


@two_cores
@pytest.mark.parametrize("layer", LAYERS)
def test_a_child_forked_after_parallel_calls_still_computes(layer):
    assert in_process(FORK, layer) == "0"


POOL = """
import multiprocessing, warnings
warnings.simplefilter("ignore")
check(call(threads=2))
with multiprocessing.get_context("fork").Pool(2) as pool:
    for y in pool.map(call, [None, 1, 2, 2], chunksize=1):
        check(y)
print("done")
"""


@two_cores
@pytest.mark.parametrize("layer", LAYERS)
def test_worker_processes_by_fork(layer):
    assert in_process(POOL, layer) == "done"


LIMITS = """
for threads in (None, 1, 2, 999, 999):
    check(call(threads))
check(fastdw.prepare(fastdw.separable_conv2d, x.shape, depthwise, pointwise, padding="same", threads=999)(x))
print(len(warned), warned)
"""


def test_more_threads_than_there_are_is_said_once():
    said = in_process(LIMITS)
    assert said.startswith("1 "), said
    assert "999" in said


def test_one_core_is_enough():
    for threads in ("None", "2"):
        in_process(f"check(call({threads}))\ncheck(layer(x))", NUMBA_NUM_THREADS="1")


CHANGES = """
from fastdw import limits
limits.FRESH_SECONDS = limits._known.until = 0
layer(x)
numbers = sorted(os.sched_getaffinity(0))
plan = lambda: fastdw.explain(fastdw.separable_conv2d, x, depthwise, pointwise, padding="same").threads
said = []
for cores in (numbers[:1], numbers[:2], numbers[:1]):
    os.sched_setaffinity(0, cores)
    check(call())
    check(call(threads=2))
    check(layer(x))
    said.append(plan())
print(said, len(warned))
"""


@two_cores
@pytest.mark.parametrize("layer", LAYERS)
def test_an_affinity_that_changes_is_followed(layer):
    assert in_process(CHANGES, layer) == "[1, 2, 1] 1"


@two_cores
def test_a_prepared_layer_keeps_to_fewer_cores():
    code = """
from fastdw import limits, program
used = []
run = program._parallel_entry()
program._parallel_entry = lambda: lambda *arguments: used.append(arguments[-1]) or run(*arguments)
limits.FRESH_SECONDS = limits._known.until = 0
for cores in (8, 2, 1, 8):
    limits.read_cores = lambda: cores
    used.clear()
    check(layer(x))
    print(used)
"""
    assert in_process("limits = None" + code, NUMBA_NUM_THREADS="4").split("\n") == ["[2]", "[2]", "[]", "[2]"]


NO_LIBRARY = """import sys
sys.modules["numba.np.ufunc.omppool"] = None  # as where libgomp is missing
sys.modules["numba.np.ufunc.tbbpool"] = None
"""


@two_cores
def test_without_openmp_calls_go_on_elsewhere():
    code = "import numba\nfor _ in range(3): check(call(threads=2)); check(layer(x))\nprint(numba.threading_layer(), warned)"
    assert in_process(code, before=NO_LIBRARY) == "workqueue []"


@two_cores
@pytest.mark.parametrize("layer", ["omp", "nonsense"])
def test_a_layer_that_cannot_be_had_is_one_warning(layer):
    code = "for _ in range(3): check(call(threads=2)); check(layer(x))\nprint(len(warned), warned)"
    said = in_process(code, layer, before=NO_LIBRARY)
    assert said.startswith("1 "), said
    assert "one thread" in said


MASK = """
import numba
for mask in (1, 2, 4):
    numba.set_num_threads(mask)
    for threads in (None, 1, 2):
        check(call(threads))
        assert numba.get_num_threads() == mask
    check(layer(x))
    assert numba.get_num_threads() == mask
"""


@two_cores
@pytest.mark.parametrize("layer", LAYERS)
def test_numbas_mask_is_kept(layer):
    in_process(MASK, layer, NUMBA_NUM_THREADS="4")


BUSY_CORES = """
import ctypes, numba
clock = ctypes.CDLL(None).clock  # processor time of the whole process, in microseconds

def cores_in_use(threads):
    import time
    wall, busy = time.perf_counter(), clock()
    while time.perf_counter() - wall < 0.25:
        call(threads)
    return (clock() - busy) / 1e6 / (time.perf_counter() - wall)

check(call(threads=2))
numba.set_num_threads(1)
print(cores_in_use(None), cores_in_use(2))
"""


@two_cores
def test_a_mask_of_one_thread_keeps_the_others_idle():
    cores = [float(number) for number in in_process(BUSY_CORES, "omp", OMP_WAIT_POLICY="passive").split()]
    assert all(used < 1.3 for used in cores), cores


EXCEPTIONS = """
for wrong in (dict(threads=0), dict(stride=0)):
    try:
        fastdw.depthwise_conv2d(x, depthwise, **wrong)
    except ValueError as error:
        assert str(error).startswith(next(iter(wrong)))
    else:
        raise AssertionError(wrong)
check(call(threads=2))
"""


@pytest.mark.parametrize("layer", LAYERS)
def test_errors_leave_the_threads_usable(layer):
    in_process(EXCEPTIONS, layer)
