"""Many threads, forks and kills at once: nothing may be lost, hang or abort.

    python -m tests.storm [--layers omp,workqueue,tbb] [--threads 8] [--calls 2000] [--forks 10] [--kills 20] [--seed 0]

For each threading layer, in a process of its own and from an empty kernel cache: Python threads call everything that fastdw
shares between threads, in an order of their own, while the main thread forks children that call it too. Every result must
have the bits that one thread gives afterwards. Then processes that compile, and tuners, are killed at random moments.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
LAYERS = ("omp", "workqueue", "tbb")
CHILD_SECONDS, POLL_SECONDS = 120, 0.005  # a child that takes longer hangs
STORM_SECONDS = 600
NOT_LOADED = 3  # the exit code of a storm whose threading layer Numba cannot load


# ---- what is called -----------------------------------------------------------------------------------------------------
def mixed_calls() -> dict[str, Callable[[], object]]:
    """Calls by name; each gives an array, or bytes, that is the same every time. Layers, weights and a network are shared."""
    import numpy as np

    import fastdw
    from fastdw import networks

    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 28, 28, 64), np.float32)
    image = rng.standard_normal((1, 32, 32, 3), np.float32)
    filters = {size: rng.standard_normal((size, size, 64), np.float32) for size in (3, 5)}
    matrix, stem = rng.standard_normal((64, 96), np.float32), rng.standard_normal((3, 3, 3, 16), np.float32)
    bias = rng.standard_normal(64, np.float32)
    packed = fastdw.pack_pointwise(matrix)
    prepared: dict[str, Callable] = {}
    network = networks.Network(networks.mobilenet_v2(size=32, classes=10))
    photo = rng.standard_normal(network.input_shape, np.float32)

    def layer(name: str, *arguments, **keywords) -> Callable:
        """Prepared by whichever thread comes first, for all of them."""
        if name not in prepared:
            prepared[name] = fastdw.prepare(*arguments, **keywords)
        return prepared[name]

    def refused() -> bytes:
        try:
            fastdw.pointwise_conv2d(x, matrix[:-1])
        except ValueError as error:
            return str(error).encode()
        raise AssertionError("a wrong shape was taken")

    def into_view():
        out = np.zeros((1, 28, 28, 100), np.float32)
        fastdw.pointwise_conv2d(x, packed, out=out[..., 4:], threads=2)
        return out

    same = {"padding": "same"}
    return {
        "depthwise": lambda: fastdw.depthwise_conv2d(x, filters[3], bias, activation="relu6", **same),
        "depthwise, two threads": lambda: fastdw.depthwise_conv2d(x, filters[5], threads=2, **same),
        "depthwise, stride 2": lambda: fastdw.depthwise_conv2d(x, filters[3], stride=2, threads=1, **same),
        "depthwise, small": lambda: fastdw.depthwise_conv2d(x[:, :5, :5, :8], filters[3][..., :8]),
        "pointwise": lambda: fastdw.pointwise_conv2d(x, matrix, activation="relu", threads=2),
        "pointwise, packed": lambda: fastdw.pointwise_conv2d(x, packed, residual=None),
        "pointwise into a view": into_view,
        "regular": lambda: fastdw.conv2d(image, stem, stride=2, threads=2, **same),
        "separable": lambda: fastdw.separable_conv2d(x, filters[3], matrix, threads=2, **same),
        "dense": lambda: fastdw.dense(x[:, 0, 0], matrix),
        "pool": lambda: fastdw.global_average_pool2d(x),
        "prepared": lambda: layer("depthwise", fastdw.depthwise_conv2d, x.shape, filters[3], bias, **same)(x),
        "prepared, other strides": lambda: layer("view", fastdw.depthwise_conv2d, (1, 14, 28, 64), filters[3], **same)(x[:, ::2]),
        "prepared separable": lambda: layer("separable", fastdw.separable_conv2d, x.shape, filters[5], matrix, threads=2, **same)(x),
        "network": lambda: network(photo),
        "packing": lambda: fastdw.pack_depthwise(filters[5]).data,
        "plan": lambda: fastdw.explain(fastdw.depthwise_conv2d, x, filters[3], threads=1, **same).id.encode(),
        "a mistake": refused,
    }


def digest(result: object) -> int:
    return zlib.crc32(memoryview(result if isinstance(result, bytes) else result.tobytes()))


# ---- threads and forks, in a process of their own -----------------------------------------------------------------------
def storm(threads: int, calls: int, forks: int, seed: int) -> dict[str, object]:
    """What was done, if every result was right.

    Raises:
      AssertionError: what was not.
    """
    mixed = mixed_calls()
    seen: list[Counter] = [Counter() for _ in range(threads)]
    errors: list[BaseException] = []
    start = threading.Barrier(threads + 1)

    def work(number: int) -> None:
        order = random.Random(seed * 1000 + number)
        names = list(mixed)
        try:
            start.wait()
            for _ in range(calls):
                name = order.choice(names)
                seen[number][name, digest(mixed[name]())] += 1
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    began = time.monotonic()
    pause = random.Random(seed)
    children: list[dict[str, int]] = []
    while len(children) < forks and (not children or any(worker.is_alive() for worker in workers)):
        children.append(in_child(mixed, seed + len(children)))
        time.sleep(pause.random() * 0.05)
    for worker in workers:
        worker.join()
    assert not errors, repr(errors)
    done = sum(seen, Counter())
    assert done.total() == threads * calls, f"{threads * calls - done.total()} calls were lost"
    expected = alone(mixed)
    for name, bits in [*done, *(item for child in children for item in child.items())]:
        assert bits == expected[name], f"{name}: other bits than one thread gives"

    from numba import threading_layer

    from fastdw import jit

    seconds = time.monotonic() - began
    kernels = len(jit.compilations())
    return {"layer": threading_layer(), "calls": done.total(), "forks": len(children), "kernels": kernels, "seconds": round(seconds, 1)}


def alone(mixed: dict[str, Callable]) -> dict[str, int]:
    """The digest of every call, one after the other."""
    return {name: digest(call()) for name, call in mixed.items()}


def in_child(mixed: dict[str, Callable], seed: int) -> dict[str, int]:
    """The digests of every call, made in a child that is forked now."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            faulthandler.dump_traceback_later(CHILD_SECONDS / 2)
            names = random.Random(seed).sample(list(mixed), len(mixed))
            os.write(writing, json.dumps(alone({name: mixed[name] for name in names})).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    for _ in range(int(CHILD_SECONDS / POLL_SECONDS)):  # counted, not timed: both may be stopped for a while
        ended = os.waitpid(child, os.WNOHANG)
        if ended != (0, 0):
            break
        time.sleep(POLL_SECONDS)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise AssertionError("a forked child hangs")
    with os.fdopen(reading) as told:
        said = told.read()
    assert ended[1] == 0, f"a forked child ended with {os.waitstatus_to_exitcode(ended[1])}"
    return json.loads(said)


def storm_process(layer: str, threads: int, calls: int, forks: int, seed: int, cache: Path) -> dict[str, object] | None:
    """The storm on a threading layer; None where Numba cannot load the layer.

    Raises:
      AssertionError: the process failed, was killed, or hung.
    """
    options = [str(number) for number in (threads, calls, forks, seed)]
    run = process(["storm", *options], cache, NUMBA_THREADING_LAYER=layer)
    try:
        printed, complained = run.communicate(timeout=STORM_SECONDS)
    except subprocess.TimeoutExpired:
        run.send_signal(signal.SIGABRT)  # faulthandler says where
        raise AssertionError(f"{layer}: hangs\n{run.communicate()[1]}") from None
    if run.returncode == NOT_LOADED:
        return None
    assert run.returncode == 0, f"{layer}: ended with {run.returncode}\n{complained}"
    return json.loads(printed)


def process(command: list[str], cache: Path, module: str = "tests.storm", **environment: str) -> subprocess.Popen:
    given = {"FASTDW_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    python = [sys.executable, "-P", "-X", "faulthandler", "-W", "ignore::DeprecationWarning"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*python, "-m", module, *command], cwd=ROOT, env=os.environ | given | environment, text=True, **streams)


# ---- kills while compiling ----------------------------------------------------------------------------------------------
def compiling() -> dict[str, object]:
    """A few calls, each with kernels of its own: what they gave, and what was compiled for them."""
    import numpy as np

    import fastdw
    from fastdw import jit

    x = np.random.default_rng(0).standard_normal((1, 9, 9, 16), np.float32)
    calls = {
        "pool": lambda: fastdw.global_average_pool2d(x),
        "pointwise": lambda: fastdw.pointwise_conv2d(x, x[0, 0, :, :].T.copy().repeat(2, 0)[:16], threads=1),
        "depthwise": lambda: fastdw.depthwise_conv2d(x, x[0, :3, :3], threads=1),
    }
    return {"bits": alone(calls), "compiled": len(jit.compilations())}


def kills(rounds: int, seed: int) -> dict[str, int]:
    """Two processes compile into one cache and are killed, files are damaged as by a loss of power; then one runs to its end.

    Raises:
      AssertionError: it did not give the right bits, or the one after it found no whole cache.
    """
    luck = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        began = time.monotonic()
        expected = finished(process(["compile"], cache))
        whole_seconds = time.monotonic() - began
        killed = damaged = 0
        for number in range(rounds):
            if number % 3 == 0:
                shutil.rmtree(cache)
            pair = [process(["compile"], cache) for _ in range(2)]
            for victim in pair:
                try:
                    victim.communicate(timeout=luck.uniform(0.1, 0.7) * whole_seconds)
                except subprocess.TimeoutExpired:
                    victim.kill()
                    victim.communicate()
                    killed += 1
            damaged += sum(damage(file, luck) for file in sorted(cache.glob("*/*.kernel")) if luck.random() < 0.5)
            assert finished(process(["compile"], cache))["bits"] == expected["bits"], f"round {number}: other bits after a kill"
            compiled = finished(process(["compile"], cache))["compiled"]
            assert compiled == 0, f"round {number}: the cache does not heal, {compiled} of {expected['compiled']} were compiled again"
    return {"killed": killed, "damaged": damaged}


def damage(file: Path, luck: random.Random) -> int:
    """What a loss of power leaves of a file that was not yet on the disk."""
    size = file.stat().st_size
    os.truncate(file, luck.randrange(size + 1))
    if luck.random() < 0.5:
        file.write_bytes(bytes(size))
    return 1


def finished(run: subprocess.Popen) -> dict:
    printed, complained = run.communicate(timeout=STORM_SECONDS)
    assert run.returncode == 0, f"ended with {run.returncode}\n{complained}"
    return json.loads(printed)


# ---- kills while tuning -------------------------------------------------------------------------------------------------
SHAPES = "".join(f"pointwise 7x7x{channels} out=64\n" for channels in range(16, 56, 4))


def tuning_kills(rounds: int, seed: int) -> dict[str, int]:
    """A tuner is killed at random moments, and each goes on from the one before; the last runs to its end.

    Raises:
      AssertionError: the profile is damaged, or has lost an entry.
    """
    luck = random.Random(seed)
    killed, kept = 0, set()
    with tempfile.TemporaryDirectory() as folder:
        shapes, profile = Path(folder, "shapes.txt"), Path(folder, "profile.json")
        shapes.write_text(SHAPES)
        for number in range(rounds + 1):
            command = ["autotune", "--shapes", str(shapes), "--threads", "1", "--resume", "--budget", "30s" if number < rounds else "2s"]
            tuner = process(command, Path(folder, "cache"), "fastdw", FASTDW_PROFILE=str(profile))
            try:
                _, complained = tuner.communicate(timeout=luck.uniform(1, 8) if number < rounds else STORM_SECONDS)
                assert tuner.returncode == 0, complained
            except subprocess.TimeoutExpired:
                tuner.kill()
                tuner.communicate()
                killed += 1
            now = {str(entry["problem"]) for entry in json.loads(profile.read_bytes())["entries"]} if profile.exists() else set()
            assert kept <= now, f"round {number}: entries were lost"
            kept = now
    assert kept, "nothing was tuned"
    return {"killed": killed, "entries": len(kept)}


# ---- commands -----------------------------------------------------------------------------------------------------------
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.storm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=lambda text: text.split(",") if text else [], default=list(LAYERS))
    for name, default in (("threads", 8), ("calls", 2000), ("forks", 10), ("kills", 20), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    for layer in given.layers:
        with tempfile.TemporaryDirectory() as cache:
            done = storm_process(layer, given.threads, given.calls, given.forks, given.seed, Path(cache))
        if done is None:
            print(f"{layer}: skipped, Numba cannot load it here")
        else:
            print("{layer}: {calls:,} calls, {forks} forks, {kernels} kernels compiled, {seconds} s: every bit right".format(**done))
    if given.kills:
        done = kills(given.kills, given.seed)
        print("kills: {killed} processes killed, {damaged} files damaged: every bit right, every cache healed".format(**done))
        done = tuning_kills(given.kills, given.seed)
        print("kills while tuning: {killed} tuners killed, {entries} entries kept, none lost".format(**done))


def in_process() -> None:
    """The parts that main() starts."""
    part, *numbers = sys.argv[1:]
    if part == "storm":
        from numba.np.ufunc import parallel

        try:
            parallel._check_tbb_version_compatible() if os.environ["NUMBA_THREADING_LAYER"] == "tbb" else None
        except ImportError:
            sys.exit(NOT_LOADED)
        done = storm(*map(int, numbers))
        assert done["layer"] == os.environ["NUMBA_THREADING_LAYER"]
    else:
        done = compiling()
    print(json.dumps(done))


if __name__ == "__main__":
    in_process() if sys.argv[1:2] in (["storm"], ["compile"]) else main()
