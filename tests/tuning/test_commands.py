"""`fastdw autotune` and `fastdw profile`, from their arguments to what they print, with the real worker on small layers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastdw
from fastdw import networks, planner, profile_files
from fastdw.cli import main
from fastdw.tuning.shapes import problem

WORDS = "depthwise 14x14x32\npointwise 7x7x32 out=64\n"


@pytest.fixture(autouse=True)
def path(own_profile):
    return own_profile


@pytest.fixture
def shapes_file(tmp_path):
    path = tmp_path / "shapes.txt"
    path.write_text(WORDS)
    return str(path)


def run(capsys, *arguments: str, status: int = 0) -> tuple[str, str]:
    try:
        found = main(arguments)
    except SystemExit as exit:
        found = exit.code
    out, err = capsys.readouterr()
    assert found == status, err
    return out, err


def failure(capsys, *arguments: str) -> str:
    out, err = run(capsys, *arguments, status=2)
    assert out == ""
    assert err.count("\n") == 1
    return err.removeprefix("fastdw: error: ").rstrip("\n")


def test_from_tuning_to_verified_and_shared(capsys, path, shapes_file, tmp_path):
    x, weight = np.random.default_rng(0).standard_normal((1, 14, 14, 32), np.float32), np.ones((3, 3, 32), np.float32)
    before = fastdw.depthwise_conv2d(x, weight, padding="same", threads=1).tobytes()
    out, err = run(capsys, "autotune", "--shapes", shapes_file, "--budget", "60s", "--threads", "1")
    assert "depthwise 14x14x32" in out
    assert f"kept in {path}" in out
    assert "2 of 2 layers measured, cold" in out
    assert "2/2 layers" in err
    fastdw.use_profile(None)
    assert fastdw.explain(fastdw.depthwise_conv2d, x.shape, weight, padding="same", threads=1).reason.startswith("tuned")
    assert fastdw.depthwise_conv2d(x, weight, padding="same", threads=1).tobytes() == before

    out, _ = run(capsys, "autotune", "--shapes", shapes_file, "--budget", "60s", "--threads", "1", "--resume", "--json")
    assert {row["note"] for row in json.loads(out)["rows"]} == {"measured before"}
    assert run(capsys, "profile", "path")[0].strip() == str(path)
    assert problem("depthwise 14x14x32").key in run(capsys, "profile", "show")[0]
    assert "2 entries, all of them usable" in run(capsys, "profile", "verify")[0]

    other = tmp_path / "other.json"
    run(capsys, "profile", "export", str(other))
    assert "2 entries with the same plan, 0 that differ" in run(capsys, "profile", "diff", str(path), str(other))[0]
    run(capsys, "profile", "clear")
    assert not path.exists()
    assert "2 entries of" in run(capsys, "profile", "import", str(other))[0]
    run(capsys, "profile", "merge", str(tmp_path / "both.json"), str(path), str(other))
    assert profile_files.read_own(tmp_path / "both.json").entries == profile_files.read_own(path).entries

    foreign = json.loads(other.read_text())
    foreign["machine"]["cpu"] = "Cortex-A72"
    other.write_text(json.dumps(foreign))
    assert "it is of another machine (cpu 'Cortex-A72' instead of" in failure(capsys, "profile", "import", str(other))
    assert "it is of another machine" in failure(capsys, "profile", "merge", str(tmp_path / "both.json"), str(path), str(other))
    run(capsys, "autotune", "--shapes", shapes_file, "--budget", "60s", "--threads", "1", "--from", str(other))


def test_clear_leaves_what_is_no_profile(capsys, path, monkeypatch):
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    assert "it is no regular file" in failure(capsys, "profile", "clear")
    assert path.is_fifo()
    path.unlink()
    path.write_text("{")
    assert str(path) in run(capsys, "profile", "clear")[0]
    assert not path.exists()


def test_verify_names_what_is_wrong(capsys, path, shapes_file):
    run(capsys, "autotune", "--shapes", shapes_file, "--budget", "60s", "--threads", "1")
    document = json.loads(path.read_text())
    document["entries"][0]["plan"]["tile"] = "9x9x9x16"
    document["entries"].append({"problem": 3})
    path.write_text(json.dumps(document))
    _, err = run(capsys, "profile", "verify", status=2)
    assert "no kernel offers" in err
    assert "damaged: entry 3" in err
    assert "2 of 3 entries cannot be used" in err


def test_a_network_before_and_after(capsys, monkeypatch, path):
    monkeypatch.setitem(networks.ARCHITECTURES, "mobilenet_v2", None)
    report = fastdw.autotune(tiny(), budget_seconds=30, threads=1, progress=False)
    assert isinstance(report, fastdw.TuningReport)
    assert len(report.networks) == 1
    assert report.networks[0].name == "tiny"
    assert report.networks[0].before.median > 0
    assert profile_files.read_own(path).entries


def tiny():
    graph = networks.architectures.RandomGraph("tiny", 16, 0)
    x = graph.conv("stem", "input", 16, 2)
    x = graph.depthwise("depthwise", x, 1)
    graph.pointwise("pointwise", x, 32)
    return graph


def test_dry_run_measures_nothing(capsys, path, shapes_file):
    out, _ = run(capsys, "autotune", "--shapes", shapes_file, "--dry-run", "--threads", "1")
    assert problem("depthwise 14x14x32").key in out
    assert "2 layers (2 with threads=1)" in out
    assert not path.exists()


def test_budget_zero(capsys, path, shapes_file):
    out, _ = run(capsys, "autotune", "--shapes", shapes_file, "--budget", "0", "--threads", "1")
    assert "0 of 2 layers measured" in out
    assert not path.exists()


def test_mistakes(capsys, monkeypatch, path, shapes_file, tmp_path):
    assert failure(capsys, "autotune", "--network", "resnet").startswith("network: got 'resnet'; expected one of mobilenet_v1")
    assert failure(capsys, "autotune", "--model", "none.tflite") == "model: got 'none.tflite'; expected a file"
    assert failure(capsys, "autotune", "--shapes", "none.txt") == "none.txt: No such file or directory"
    bad = tmp_path / "bad.txt"
    bad.write_text(WORDS + "depthwise 3x3\n")
    assert failure(capsys, "autotune", "--shapes", str(bad)).startswith(f"{bad}:3: shape: got 'depthwise 3x3'; expected depthwise HEIGHT")
    assert "expected a time such as 60s" in failure(capsys, "autotune", "--budget", "-3")
    assert "expected whole numbers" in failure(capsys, "autotune", "--threads", "1,0")
    assert failure(capsys, "autotune", "--shapes", shapes_file, "--threads", "9999").startswith(
        "threads: got [9999]; expected numbers from 1"
    )
    assert "there is no profile" in failure(capsys, "profile", "show")
    assert failure(capsys, "autotune", "--shapes", shapes_file, "--from", "none.json") == "none.json: no such file"
    path.parent.mkdir()
    path.write_text('{"schema": 9}')
    assert "its schema 9 is newer" in failure(capsys, "autotune", "--shapes", shapes_file)
    assert path.read_text() == '{"schema": 9}'
    path.unlink()
    path.mkdir()
    assert failure(capsys, "autotune", "--shapes", shapes_file) == f"{path}: it is a directory"
    monkeypatch.setenv("FASTDW_PROFILE", "off")
    assert failure(capsys, "autotune", "--shapes", shapes_file) == "FASTDW_PROFILE turns profiles off"
    monkeypatch.setenv("FASTDW_PROFILE", "/proc/none/profile.json")
    assert failure(capsys, "autotune", "--shapes", shapes_file).startswith("/proc/none/profile.json: it cannot be written (")


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"budget_seconds": -1}, ValueError, "^budget_seconds: got -1; expected seconds, 0 or more"),
        ({"budget_seconds": float("nan")}, ValueError, "^budget_seconds: got nan; expected seconds, 0 or more"),
        ({"budget_seconds": "60"}, TypeError, "^budget_seconds: got '60'; expected seconds, 0 or more"),
        ({"budget_seconds": True}, TypeError, "^budget_seconds: got True; expected seconds, 0 or more"),
        ({"residency": "hot"}, ValueError, "^residency: got 'hot'"),
        ({"resume": "no"}, TypeError, "^resume: got 'no'; expected True or False"),
        ({"progress": 2}, TypeError, "^progress: got 2; expected True or False"),
        ({"hint": 3}, TypeError, "^hint: got 3; expected a path"),
        ({"hint": "~no.such.user/x"}, ValueError, "^hint: got '~no.such.user/x'; expected a path: .*home"),
        ({"hint": "/no/such"}, ValueError, "^/no/such: no such file"),
    ],
)
def test_wrong_settings(given, error, message):
    with pytest.raises(error, match=message):
        fastdw.autotune(["depthwise 14x14x32"], **given)


def test_numbers_of_numpy_are_numbers(path):
    for budget in (np.int64(0), np.float32(0)):
        assert fastdw.autotune(["depthwise 14x14x32"], budget_seconds=budget, threads=np.int64(1), progress=False).rows


def test_python_mistakes():
    with pytest.raises(TypeError, match="problems_or_network: got 3"):
        fastdw.autotune(3)
    with pytest.raises(ValueError, match="model: got 'resnet'"):
        fastdw.autotune("resnet")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_and_killed_runs_keep_what_is_done(sent, path, tmp_path):
    shapes_file = tmp_path / "many.txt"
    shapes_file.write_text("".join(f"pointwise 7x7x{channels} out=64\n" for channels in range(16, 256, 4)))
    arguments = [sys.executable, "-m", "fastdw", "autotune", "--shapes", str(shapes_file), "--budget", "60s", "--threads", "1"]
    environment = os.environ | {"PYTHONPATH": str(Path(fastdw.__file__).parent.parent)}
    tuner = subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not (path.exists() and len(profile_files.read_own(path).entries) >= 2) and time.monotonic() < end:
        time.sleep(0.05)
    tuner.send_signal(sent)
    out, err = tuner.communicate(timeout=60)
    assert tuner.returncode == (130 if sent == signal.SIGINT else -sent), err
    assert len(profile_files.read_own(path).entries) >= 2
    assert "Traceback" not in err
    if sent == signal.SIGINT:
        assert "interrupted: what was done is kept" in out
        assert "not reached within the budget" in out
    fastdw.use_profile(None)
    assert planner.plan(next(iter(profile_files.read_own(path).entries.values())).problem).reason.startswith("tuned")
