"""What is kept between calls: copies of layers, packed weights of other machines, first calls from several threads, forks."""

import copy
import gc
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import fastdw
from fastdw.packing import Panels, lay_panels

X = np.random.default_rng(0).standard_normal((1, 9, 9, 32), dtype=np.float32)
WEIGHT = np.random.default_rng(1).standard_normal((3, 3, 32), dtype=np.float32)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copied_layer_outlives_the_original(duplicate):
    layer = fastdw.prepare(fastdw.depthwise_conv2d, X.shape, WEIGHT)
    expected, copied = layer(X), duplicate(layer)
    del layer
    gc.collect()
    junk = [np.full(74, 1 << 40, np.int64) for _ in range(2000)]
    np.testing.assert_array_equal(copied(X), expected)
    assert len(junk) == 2000


def test_a_layer_cannot_be_pickled():
    with pytest.raises(TypeError, match="prepare it there"):
        pickle.dumps(fastdw.prepare(fastdw.depthwise_conv2d, X.shape, WEIGHT))


def test_panels_of_another_machine_are_refused():
    matrix = np.ones((32, 256), np.float32)
    here = fastdw.pack_pointwise(matrix)
    other = lay_panels("pointwise", matrix, Panels(256, 1, here.panel // 2))
    with pytest.raises(ValueError, match=rf"^weight: got a weight packed in panels of {here.panel // 2}"):
        fastdw.pointwise_conv2d(X, other)
    np.testing.assert_array_equal(fastdw.pointwise_conv2d(X, pickle.loads(pickle.dumps(here))), fastdw.pointwise_conv2d(X, matrix))


def test_panels_as_wide_but_of_other_vectors_are_refused():
    """Thirteen columns: two vectors of 8 step back elsewhere than four of 4."""
    matrix = np.ones((32, 13), np.float32)
    usable = fastdw.pack_pointwise(matrix)
    packed = [lay_panels("pointwise", matrix, panels) for panels in (Panels(13, 4, 4), Panels(13, 2, 8))]
    for other in [weight for weight in packed if (weight.panel, weight.lanes) != (usable.panel, usable.lanes)]:
        with pytest.raises(ValueError, match=rf"^weight: got a weight packed in panels of {other.panel} .* vectors of {other.lanes}"):
            fastdw.pointwise_conv2d(X, other)


def test_a_block_checks_all_stages_before_any_runs(monkeypatch):
    from fastdw import fused

    ran = []
    monkeypatch.setattr(fused.Pool, "__call__", lambda self, *arrays: ran.append(self))
    with pytest.raises(ValueError, match=r"^pointwise_weight: "):
        fastdw.separable_conv2d(X, WEIGHT, np.ones((5, 7), np.float32))
    assert not ran


def run_python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_first_calls_from_many_threads_compile_once():
    done = run_python(
        """
import threading, numpy as np, fastdw
from fastdw import jit
x, w = np.ones((1, 5, 5, 16), np.float32), np.ones((3, 3, 16), np.float32)
threads = [threading.Thread(target=fastdw.depthwise_conv2d, args=(x, w), kwargs={"threads": 1}) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
names = [name.split("(")[0] for name in jit.compilations()]
assert len(names) == len(set(names)), names
""".replace("import threading", "import os; os.environ['FASTDW_CACHE_DIR'] = 'off'; import threading")
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_forked_during_a_first_compile_can_call():
    done = run_python("""
import os; os.environ["FASTDW_CACHE_DIR"] = "off"
import signal, threading, time, numpy as np, fastdw
x, w = np.ones((1, 8, 8, 16), np.float32), np.ones((3, 3, 16, 32), np.float32)
worker = threading.Thread(target=fastdw.conv2d, args=(x, w), kwargs={"threads": 1})
worker.start()
time.sleep(0.7)
child = os.fork()
if child == 0:
    signal.alarm(60)
    fastdw.conv2d(x, w, threads=1)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
worker.join()
""")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize(
    ("module", "work"),
    [
        *[(module, "block") for module in ("fastdw.launch", "fastdw.program", "fastdw.thread_pool")],
        *[(module, "network") for module in ("fastdw.program", "fastdw.thread_pool")],
    ],
)
def test_a_child_forked_during_an_import_can_call(module, work):
    done = run_python(f"""
import os, signal, sys, threading, time, numpy as np, fastdw
from fastdw.networks import Graph, Network
from fastdw.networks.arranging import Pad
from fastdw.networks.graph import INPUT
begun = threading.Event()
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            begun.set()
            time.sleep(0.3)
sys.meta_path.insert(0, Slow())
x, w = np.ones((1, 8, 8, 16), np.float32), np.ones((16, 16), np.float32)
def block():
    fastdw.separable_conv2d(x, np.ones((3, 3, 16), np.float32), w, threads=1)
def network():
    graph = Graph("one layer", (1, 8, 8, 16))
    graph.add(Pad("pad", (INPUT,), padding=((0, 0), (1, 1), (1, 1), (0, 0))))
    Network(graph, threads=1)(x)
worker = threading.Thread(target={work})
worker.start()
assert begun.wait(60)
child = os.fork()
if child == 0:
    signal.alarm(30)
    {work}()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
worker.join()
""")
    assert done.returncode == 0, done.stderr


def test_threads_that_others_started_are_known_to_be_lost_after_a_fork():
    done = run_python("""
import fastdw, os, signal, numpy as np
import numba
@numba.njit(parallel=True)
def user(n):
    total = 0
    for i in numba.prange(n):
        total += i
    return total
user(10)
child = os.fork()
if child == 0:
    signal.alarm(60)
    x, w = np.ones((1, 112, 112, 32), np.float32), np.ones((32, 64), np.float32)
    fastdw.pointwise_conv2d(x, w)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
""")
    assert done.returncode == 0, done.stderr


def test_without_a_compiler_the_error_says_so():
    done = run_python("""
import os; os.environ["NUMBA_DISABLE_JIT"] = "1"
import numpy as np, fastdw
try:
    fastdw.pointwise_conv2d(np.ones((1, 2, 2, 8), np.float32), np.ones((8, 8), np.float32))
except RuntimeError as error:
    assert str(error).startswith("NUMBA_DISABLE_JIT: got 1"), error
else:
    raise AssertionError("no error")
""")
    assert done.returncode == 0, done.stderr
