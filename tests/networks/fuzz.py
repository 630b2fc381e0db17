"""Damaged model files, in worker processes: python -m tests.networks.fuzz --count 10000 --budget 10m

A file must be refused with one clear line, or read; a small network that was read must run. A worker that dies, that computes longer than
LONGEST_SECONDS, or more memory than a file warrants, is a fault; the next goes on behind it. Number n is always the same file:
--case n runs it here.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from math import prod
from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parents[1]
sys.path[:0] = [str(TESTS), str(ROOT)]
from tests.models import MODELS  # noqa: E402

PER_PROCESS = 1000  # files
LONGEST_SECONDS = 60  # of one file, compiling included
ADDRESS_BYTES = 8 << 30
MEMORY_BYTES = 200 << 20  # that reading a small file may take
RUN_BYTES, RUN_MULTIPLY_ADDS = 16 << 20, 10_000_000  # what is run, not only read
RUN_EVERY = 4
MESSAGE = re.compile(r"got .*; expected .*")
UNITS = {"s": 1, "m": 60, "h": 3600}


class Wrong(Exception):
    """What a file did that it must not do."""


def probe(path: Path, is_run: bool = False) -> str:
    """Reads a file, and runs it where asked and small: "refused", "read" or "run"."""
    import numpy as np

    from fastdw.networks import Network, read_onnx, read_tflite

    before = memory_bytes()
    try:
        graph = (read_onnx if path.suffix == ".onnx" else read_tflite)(path)
        if memory_bytes() - before > MEMORY_BYTES:
            raise Wrong(f"{memory_bytes() - before:,} bytes of memory to read {path.stat().st_size:,}")
        sizes = sum(4 * prod(shape) for shape in graph.shapes.values())
        multiply_adds = sum(layer.multiply_adds(*graph.input_shapes(layer)) for layer in graph.layers)
        if not is_run or sizes > RUN_BYTES or multiply_adds > RUN_MULTIPLY_ADDS:
            return "read"
        network = Network(graph, threads=1)
        y = network(np.ones(network.input_shape, np.float32))
        if y.shape != network.output_shape:
            raise Wrong(f"output of shape {y.shape}; expected {network.output_shape}")
        return "run"
    except ValueError as error:
        if not MESSAGE.search(str(error)) or "\n" in str(error):
            raise Wrong(f"message {str(error)!r}") from error
        return "refused"


def memory_bytes() -> int:
    """The most that this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def work(first: int, end: int, until: float) -> None:
    """A line for each file before it is read, and one for what came of it."""
    import warnings

    from mutations import corpus, damaged

    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))
    sounds = corpus(MODELS)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, end):
            if time.time() > until:
                return
            what, suffix, data = damaged(sounds, number)
            print("file", number, what, flush=True)
            resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + LONGEST_SECONDS, resource.RLIM_INFINITY))
            path = Path(folder, f"model{suffix}")
            path.write_bytes(data)
            try:
                print("came", probe(path, number % RUN_EVERY == 0), flush=True)
            except Exception as error:
                print("wrong", f"{type(error).__name__}: {error}".replace("\n", " | "), flush=True)


def run_process(first: int, end: int, until: float, came: Counter, wrong: dict[int, str], environment: dict[str, str]) -> int:
    """One worker, from `first` until it is done or dies; gives the number after the last file that it took."""
    command = [sys.executable, "-X", "faulthandler", __file__, "--work", str(first), str(end), str(until)]
    number, what, is_open = first - 1, "", False
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            kind, _, rest = line.rstrip("\n").partition(" ")
            if kind == "file":
                index, _, what = rest.partition(" ")
                number, is_open = int(index), True
            else:
                is_open = False
                came[rest if kind == "came" else "wrong"] += 1
                if kind == "wrong":
                    wrong[number] = f"{what}: {rest}"
        complaint = process.stderr.read()
    if process.returncode and not is_open:
        raise RuntimeError(complaint)
    if is_open:
        came["fault"] += 1
        wrong[number] = f"{what}: ended with {process.returncode}: {' | '.join(complaint.strip().splitlines()[:6])}"
    return number + 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.networks.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000, help="files (10000)")
    parser.add_argument("--first", type=int, default=0, help="the first file's number (0)")
    parser.add_argument("--budget", default="10m", help="ends it: 90s, 10m, 2h (10m)")
    parser.add_argument("--case", type=int, metavar="N", help="one file, here")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="with --case: write the file there")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        first, end, until = options.work
        return work(int(first), int(end), float(until))
    if options.case is not None:
        return run_case(options.case, options.keep)
    until = time.time() + float(options.budget[:-1]) * UNITS[options.budget[-1]]
    came: Counter = Counter()
    wrong: dict[int, str] = {}
    first, last = options.first, options.first + options.count
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"FASTDW_CACHE_DIR": os.environ.get("FASTDW_TEST_CACHE_DIR") or folder}
        while first < last and time.time() < until:
            first = run_process(first, min(first + PER_PROCESS, last), until, came, wrong, environment)
            print(f"{came.total():,} files: {', '.join(f'{count:,} {what}' for what, count in came.items())}", flush=True)
    for number, complaint in wrong.items():
        print(f"python -m tests.networks.fuzz --case {number}  # {complaint}")
    raise SystemExit(1 if wrong else 0)


def run_case(number: int, keep: Path | None) -> None:
    from mutations import corpus, damaged

    what, suffix, data = damaged(corpus(MODELS), number)
    with tempfile.TemporaryDirectory() as folder:
        path = keep or Path(folder, f"model{suffix}")
        path.write_bytes(data)
        print(f"{what}: {probe(path, is_run=True)}")


if __name__ == "__main__":
    main()
