"""The soak command: counts each problem once, goes on where it stopped, and survives the problems that end a worker."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soak

WORKER = """
import os, sys
first, end, until = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
for number in range(first, end):
    print("run", f"dense-{number}", flush=True)
    print("kernel", f"of_{number % 2}", flush=True)
    if number == 3:
        os.kill(os.getpid(), 11)
    if number == 5:
        print("wrong", f"dense-{number}", "a message", flush=True)
print("compiled", "one")
"""


@pytest.fixture
def make(tmp_path, monkeypatch):
    """A soak of a worker that dies at number 3 and is wrong at number 5."""
    (tmp_path / "worker.py").write_text(WORKER)
    monkeypatch.setattr(soak, "WORKER", tmp_path / "worker.py")
    record = soak.Record(tmp_path / "done.jsonl")

    def make(count: int, until: float = float("inf")) -> soak.Soak:
        done = record.read()
        return soak.Soak(record, done, soak.missing(done.ran, count), until, tmp_path)

    return make


def test_a_worker_that_dies_is_a_fault_and_the_next_goes_on(make, capsys):
    one = make(8)
    one.run(2)
    total = one.sum()
    assert sorted(total.ran) == list(range(8))
    assert list(total.faults) == ["dense-3"]
    assert f"signal {signal.SIGSEGV}" in total.faults["dense-3"]
    assert total.wrong == {"dense-5": "a message"}
    assert str(total) == "8 problems: 1 wrong, 1 faults; 2 kernels used, 1 compiled"
    printed = capsys.readouterr().out
    assert "python -m tests.soak --case dense-3" in printed
    assert "python -m tests.soak --case dense-5" in printed


def test_it_goes_on_where_it_stopped(make):
    make(4).run(1)
    again = make(10)
    again.run(2)
    assert sorted(again.sum().ran) == list(range(10))
    assert make(10).ranges.empty()


def test_what_other_sources_did_does_not_count(make, capsys, monkeypatch):
    make(4).run(1)
    one = make(4)
    one.record.digest = "other"
    assert one.record.read().ran == []
    assert "4 problems that other sources ran do not count" in capsys.readouterr().out


def test_a_line_cut_short_is_left_out(make):
    one = make(4)
    one.run(1)
    text = one.record.path.read_text()
    one.record.path.write_text(text + text[:30])
    assert make(4).ranges.empty()


def test_the_budget_ends_it(make):
    one = make(4, until=time.time() - 1)
    one.run(2)
    assert one.sum().ran == []


def test_missing_ranges():
    assert list(soak.missing([2, 3, 9, 700], 1003)) == [(0, 2), (4, 9), (10, 510), (510, 700), (701, 1003)]


def test_the_command_runs_problems(tmp_path):
    cache = {"FASTDW_TEST_CACHE_DIR": os.environ["FASTDW_CACHE_DIR"]}
    command = [sys.executable, "-m", "tests.soak", "--case", "global_average_pool2d-24"]
    run = subprocess.run(command, cwd=Path(soak.__file__).parents[1], env=os.environ | cache, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("1 problems: 0 wrong, 0 faults; ")
