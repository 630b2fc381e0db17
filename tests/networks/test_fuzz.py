"""Some hundred damaged files; `python -m tests.networks.fuzz` tries as many as there is time for."""

import subprocess
import sys
from collections import Counter

import fuzz
import pytest
from models import MODELS
from mutations import corpus, damaged

N_FILES = 400


@pytest.fixture(scope="module")
def sounds():
    pytest.importorskip("tflite", reason="tflite is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    return corpus(MODELS)


def test_damaged_files_are_refused_or_read(sounds, tmp_path, pytestconfig):
    first = 20_000 * (1 + pytestconfig.getoption("--seed"))
    came = Counter()
    for number in [*range(0, 1000, 50), *range(first, first + N_FILES)]:
        what, suffix, data = damaged(sounds, number)
        path = tmp_path / f"model{suffix}"
        path.write_bytes(data)
        try:
            came[fuzz.probe(path)] += 1
        except Exception as error:
            pytest.fail(f"{what}: {type(error).__name__}: {error}; run: python -m tests.networks.fuzz --case {number}")
    assert came["refused"] > came["read"] > 0


def test_sound_files_are_read_and_run(sounds, tmp_path):
    for sound in sounds:
        path = tmp_path / f"model{sound.suffix}"
        path.write_bytes(sound.data)
        assert fuzz.probe(path, is_run=sound.name.startswith("blocks")) == ("run" if sound.name.startswith("blocks") else "read")


def test_a_number_is_always_the_same_file(sounds):
    assert damaged(sounds, 5000) == damaged(sounds, 5000)
    assert damaged(sounds, 5000) != damaged(sounds, 5001)


def test_a_cut_leaves_less(sounds):
    assert damaged(sounds, 0)[2] == b""
    assert damaged(sounds, 3)[2] == sounds[0].data[: 3 * 1024]


def test_a_file_that_ends_the_process_is_named(monkeypatch, tmp_path):
    """The command goes on behind it."""
    worker = tmp_path / "worker.py"
    worker.write_text("import os, sys\nfor n in range(int(sys.argv[2]), int(sys.argv[3])):\n print('file', n, 'a file', flush=True)\n"
                      " if n == 1: os.abort()\n print('came refused', flush=True)\n")  # fmt: skip
    monkeypatch.setattr(fuzz, "__file__", str(worker))
    came, wrong = Counter(), {}
    assert fuzz.run_process(0, 3, 1e12, came, wrong, {}) == 2
    assert fuzz.run_process(2, 3, 1e12, came, wrong, {}) == 3
    assert came == {"refused": 2, "fault": 1}
    assert list(wrong) == [1]
    assert wrong[1].startswith("a file: ended with -6")


def test_the_command():
    done = subprocess.run([sys.executable, fuzz.__file__, "--count", "3", "--budget", "2m"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "3 files: 3 refused\n"), done.stderr
