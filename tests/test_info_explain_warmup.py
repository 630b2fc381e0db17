"""`fastdw info`, `fastdw explain`, `fastdw warmup`, and FASTDW_NO_COMPILE=1, under which calls compile nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from profiles import entry

import fastdw
from fastdw import planner
from fastdw.cli import main
from fastdw.machine import host
from fastdw.profile import Profile
from fastdw.tuning.shapes import problem

LAYER = "depthwise 14x14x32"
BLOCK = f"{LAYER}\npointwise 14x14x32 out=32"
CALL = """
import sys
import numpy as np
import fastdw
x, weight = np.ones((1, 14, 14, 32), np.float32), np.ones((3, 3, 32), np.float32)
try:
    for threads in (1, 2):
        assert fastdw.depthwise_conv2d(x, weight, padding="same", threads=threads)[0, 0, 0, 0] == 4
        y = fastdw.separable_conv2d(x, weight, np.ones((32, 32), np.float32), padding="same", threads=threads)
        assert y[0, 0, 0, 0] == 4 * 32
except RuntimeError as error:
    sys.exit(f"{type(error).__name__}: {error}")
from fastdw import jit
sys.exit(len(jit.compilations()))
"""


@pytest.fixture(autouse=True)
def path(own_profile):
    own_profile.parent.mkdir()
    return own_profile


def run(capsys, *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def failure(capsys, *arguments: str) -> str:
    try:
        status = main(arguments)
    except SystemExit as exit:
        status = exit.code
    assert status == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err.removeprefix("fastdw: error: ").rstrip("\n")


def put(path: Path, text: str, threads: int) -> None:
    """A profile of one entry: another plan than the default for a layer."""
    plan = [plan for plan in planner.space(problem(text), threads, host()) if plan.threads == threads][-1]
    path.write_text(json.dumps(Profile(host().identity, [entry(plan, threads)]).to_json()))
    fastdw.use_profile(None)


# ---- info ----
def test_info_tells_the_machine_and_what_was_measured(capsys, path):
    facts = json.loads(run(capsys, "info", "--json"))
    assert facts["machine"]["cpu"] == host().name
    assert f"of {host().lanes} floats" in facts["machine"]["vectors"]
    assert facts["versions"]["fastdw"] == fastdw.__version__
    assert facts["profile"] == {"place": str(path), "in use": "none: fastdw autotune makes one"}
    assert facts["measured"]["multiply-adds, threads 1"] > 1e8
    levels = facts["measured"]["levels"]
    assert levels
    assert all(level["random_read_seconds"] > 0 and level["bytes_per_second"] > 0 for level in levels)


def test_info_in_words(capsys, path):
    put(path, LAYER, 1)
    out = run(capsys, "info", "--quick")
    assert f"in use: {path}" in out
    assert "1 entries" in out
    assert "memory of the compiled code" in out
    assert "measured" not in out


def test_info_where_there_is_no_place_for_anything(capsys, monkeypatch):
    monkeypatch.setenv("FASTDW_PROFILE", "off")
    fastdw.use_profile(None)
    assert "FASTDW_PROFILE turns profiles off" in run(capsys, "info", "--quick")


# ---- explain ----
def test_explain_tells_plan_default_and_space(capsys, path):
    out = run(capsys, "explain", *LAYER.split(), "--threads", "1")
    assert str(planner.default_plan(problem(LAYER), 1, host()).id) in out
    assert "reference_depthwise serve it" in out
    assert "  default " not in out
    put(path, LAYER, 1)
    out = run(capsys, "explain", LAYER, "--threads", "1")
    assert "(tuned, " in out
    assert "  default   f32_depthwise" in out


def test_explain_names_mistakes(capsys):
    assert failure(capsys, "explain", "wavelet").startswith("shape: got 'wavelet'; expected one of depthwise")
    assert failure(capsys, "explain", "depthwise", "14x14").startswith("shape: got 'depthwise 14x14'; expected depthwise HEIGHT")
    assert "expected a whole number of at least 1" in failure(capsys, "explain", LAYER, "--threads", "0")


# ---- warmup ----
def python(code: str, cache: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess:
    root = str(Path(fastdw.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root, "FASTDW_CACHE_DIR": str(cache), "FASTDW_NO_COMPILE": "1"} | more
    return subprocess.run([sys.executable, *(["-c", code] if code else arguments)], env=environment, capture_output=True, text=True)


def test_calls_compile_nothing_and_warmup_makes_them_run(tmp_path):
    shapes, cache = tmp_path / "shapes.txt", tmp_path / "cache"
    shapes.write_text(BLOCK)
    refused = python(CALL, cache)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert refused.stderr.startswith("RuntimeError: FASTDW_NO_COMPILE: got 1, and the kernel cache has no ")
    assert not list(cache.rglob("*.kernel"))
    warmed = python("", cache, "-m", "fastdw", "warmup", "--shapes", str(shapes))
    assert "kernels compiled in" in warmed.stdout, warmed.stderr
    again = python(CALL, cache)
    assert again.returncode == 0, again.stderr
    nothing_left = python("", cache, "-m", "fastdw", "warmup", "--shapes", str(shapes))
    assert nothing_left.stdout.startswith("0 kernels compiled")
    other_layer = python("", cache, "-m", "fastdw", "explain", "conv", "7x7x16", "out=32")
    assert "compiled  on first use" in other_layer.stdout, other_layer.stderr


def test_without_a_cache_nothing_runs_and_that_is_said(tmp_path):
    refused = python(CALL, tmp_path, FASTDW_CACHE_DIR="off")
    assert refused.stderr.startswith("RuntimeError: FASTDW_NO_COMPILE: got 1, and")
    assert refused.stderr.count("\n") == 1


def test_warmup_names_mistakes(capsys, tmp_path):
    assert failure(capsys, "warmup", "--network", "resnet").startswith("network: got 'resnet'; expected one of mobilenet_v1")
    assert failure(capsys, "warmup", "--model", "none.onnx") == "model: got 'none.onnx'; expected a file"
    (tmp_path / "shapes.txt").write_text(f"{LAYER}\npointwise 3\n")
    assert failure(capsys, "warmup", "--shapes", str(tmp_path / "shapes.txt")).startswith(f"{tmp_path}/shapes.txt:2: shape: got")
    assert failure(capsys, "warmup", "--threads", "9999").startswith("threads: got [9999]; expected numbers from 1")
