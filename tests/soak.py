"""Very many random problems, in worker processes: python -m tests.soak --count 20000 --budget 10m --resume soak.jsonl

Each problem runs against the float64 oracle, with its arrays beside forbidden pages, with other ways to ask for the same, and with
a tile, blocking and number of threads drawn from the whole tuning space. A stray access ends a worker: a fault, and the next goes on.
With --resume what was done is kept in a file, and the same command goes on from there; what other sources did is not counted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
WORKER = TESTS / "soak_worker.py"
PER_PROCESS = 500  # problems
PROGRESS_SECONDS = 15
UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass
class Tally:
    """What a run of problems came to: the numbers of those that ran, a line for each failure."""

    ran: list[int] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    kernels: set[str] = field(default_factory=set)
    compiled: int = 0

    def add(self, other: Tally) -> None:
        self.ran += other.ran
        self.wrong |= other.wrong
        self.faults |= other.faults
        self.kernels |= other.kernels
        self.compiled += other.compiled

    def __str__(self) -> str:
        counts = f"{len(self.ran):,} problems: {len(self.wrong)} wrong, {len(self.faults)} faults"
        return f"{counts}; {len(self.kernels)} kernels used, {self.compiled} compiled"


class Record:
    """The file of --resume: a line for each run of problems that a worker did."""

    def __init__(self, path: Path | None):
        self.path, self.digest = path, source_digest()
        self.lock = threading.Lock()

    def read(self) -> Tally:
        tally, others = Tally(), 0
        for line in self.path.read_text().splitlines() if self.path and self.path.exists() else []:
            try:
                done = json.loads(line)
            except ValueError:  # cut short
                continue
            if done.pop("sources") == self.digest:
                tally.add(Tally(**done | {"kernels": set(done["kernels"])}))
            else:
                others += len(done["ran"])
        if others:
            print(f"{self.path}: {others:,} problems that other sources ran do not count")
        return tally

    def append(self, tally: Tally) -> None:
        if self.path and tally.ran:
            line = json.dumps(vars(tally) | {"kernels": sorted(tally.kernels), "sources": self.digest})
            with self.lock, self.path.open("a") as file:
                file.write(line + "\n")


def source_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted([*(ROOT / "fastdw").rglob("*.py"), *TESTS.glob("*.py")]):
        digest.update(f"\n{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Soak:
    """Worker processes, each given a range of numbers at a time until all ran or the time is over."""

    def __init__(self, record: Record, done: Tally, ranges: Iterable[tuple[int, int]], until: float, cache: Path):
        self.record, self.done, self.until = record, done, until
        self.environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "FASTDW_CACHE_DIR": str(cache),
            "FASTDW_PROFILE": str(cache / "none.json"),
        }
        self.tallies: list[Tally] = []
        self.ranges: queue.SimpleQueue = queue.SimpleQueue()
        self.processes: set[subprocess.Popen] = set()
        self.is_stopped = False
        for one in ranges:
            self.ranges.put(one)

    def run(self, workers: int) -> None:
        threads = [threading.Thread(target=self._serve) for _ in range(workers)]
        for thread in threads:
            thread.start()
        shown = time.time()
        try:
            while any(thread.is_alive() for thread in threads):
                time.sleep(0.1)
                if time.time() - shown > PROGRESS_SECONDS:
                    shown = time.time()
                    left = f"; {max(0, self.until - shown):.0f} s left" if self.until < float("inf") else ""
                    print(f"{self.sum()}{left}", flush=True)
        finally:
            self.is_stopped = True
            for process in list(self.processes):
                process.terminate()
            for thread in threads:
                thread.join()

    def _serve(self) -> None:
        while time.time() < self.until and not self.is_stopped:
            try:
                first, end = self.ranges.get_nowait()
            except queue.Empty:
                return
            while first < end and time.time() < self.until and not self.is_stopped:
                tally = Tally()
                self.tallies.append(tally)
                self._run_process(tally, first, end)
                self.record.append(tally)
                first = tally.ran[-1] + 1 if tally.ran else end

    def _run_process(self, tally: Tally, first: int, end: int) -> None:
        """One worker, from `first` until it is done or dies."""
        command = [sys.executable, "-X", "faulthandler", str(WORKER), str(first), str(end), str(self.until)]
        process = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.processes.add(process)
        complaints: list[str] = []
        name = "before the first"
        with process:
            reader = threading.Thread(target=lambda: complaints.append(process.stderr.read()))
            reader.start()
            for line in process.stdout:
                what, _, value = line.rstrip("\n").partition(" ")
                if what == "run":
                    name = value
                    tally.ran.append(int(name.rpartition("-")[2]))
                elif what == "wrong":
                    failed, _, message = value.partition(" ")
                    tally.wrong[failed] = message
                    report("wrong", failed, message)
                elif what == "kernel":
                    tally.kernels.add(value)
                elif what == "compiled":
                    tally.compiled += 1
            reader.join()
        self.processes.discard(process)
        if self.is_stopped:
            del tally.ran[-1:]
        elif status := process.returncode:
            ended = f"signal {-status}" if status < 0 else f"exit status {status}"
            tally.faults[name] = f"{ended}: {complaints[0][:600]}"
            report("fault", name, tally.faults[name])

    def sum(self) -> Tally:
        total = Tally()
        for tally in [self.done, *self.tallies]:
            total.add(tally)
        return total


def report(what: str, name: str, message: str) -> None:
    print(f"{what}: {name}: {message}\n  run it again: python -m tests.soak --case {name}", flush=True)


def missing(done: list[int], count: int) -> Iterator[tuple[int, int]]:
    """The ranges of numbers below count that did not run, each for one process."""
    is_done = bytearray(count)
    for number in done:
        if number < count:
            is_done[number] = 1
    first = None
    for number in range(count + 1):
        is_missing = number < count and not is_done[number]
        if is_missing and first is None:
            first = number
        if first is not None and (not is_missing or number - first == PER_PROCESS):
            yield first, number
            first = number if is_missing else None


def range_of(name: str) -> tuple[int, int]:
    number = int(name.rpartition("-")[2])
    return number, number + 1


def seconds(text: str) -> float:
    return float(text[:-1]) * UNITS[text[-1]] if text[-1:] in UNITS else float(text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000, help="problems in all (default 20000)")
    parser.add_argument("--budget", type=seconds, default=float("inf"), help="stop after so long: 90s, 10m, 2h")
    parser.add_argument("--resume", type=Path, help="keep what is done in this file, and go on from it")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes at once (default: one a CPU)")
    parser.add_argument("--case", help="one problem alone, as a failure names it: CALL-NUMBER")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        cache = Path(os.environ.get("FASTDW_TEST_CACHE_DIR", temporary))
        record = Record(None if options.case else options.resume)
        done = record.read()
        ranges = [range_of(options.case)] if options.case else missing(done.ran, options.count)
        soak = Soak(record, done, ranges, time.time() + options.budget, cache)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            soak.run(options.workers)
        except KeyboardInterrupt:
            print("stopped")
    total = soak.sum()
    print(total)
    return 1 if total.wrong or total.faults else 0


if __name__ == "__main__":
    sys.exit(main())
