"""Profiles: what they say about a problem, and that nothing in one can break a call or lose an entry."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from profiles import entry, random_profile

import fastdw
from fastdw import planner, profile_files
from fastdw.kernels.spec import registry
from fastdw.machine import host
from fastdw.problem import DEPTHWISE, POINTWISE, Activation, Problem
from fastdw.profile import Choice, Damaged, Profile, ProfileError, distance

PROBLEM = Problem(DEPTHWISE, 1, 28, 28, 64, 64, (3, 3), padding=((1, 1), (1, 1)))
POINTS = Problem(POINTWISE, 1, 1, 784, 64, 128)


@pytest.fixture(autouse=True)
def path(own_profile):
    return own_profile


def others(problem: Problem, threads: int = 1) -> list:
    """Every plan but the default."""
    default = planner.default_plan(problem, threads, host())
    return [plan for plan in planner.space(problem, threads, host()) if replace(plan, reason=default.reason) != default]


def save(path: Path, *entries) -> None:
    assert profile_files.update(path, entries) is None
    fastdw.use_profile(None)


def choice(problem: Problem, threads: int = 1) -> Choice:
    return Choice.of(planner.plan(problem, threads))


# ---- what a profile says ----
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("problem", [PROBLEM, POINTS], ids=lambda problem: problem.kind)
def test_every_plan_of_the_space_is_taken_from_a_profile_as_it_is(problem, threads, path):
    plans = others(problem, threads)
    assert len(plans) > 10
    for plan in plans:
        assert replace(planner.adapt(Choice.of(plan), problem, threads, host()), reason="") == plan
    save(path, entry(plans[-1], threads))
    assert choice(problem, threads) == Choice.of(plans[-1])
    assert planner.plan(problem, threads).reason == "tuned, 1.25 times the default"
    assert choice(problem, 3 - threads) == Choice.of(planner.default_plan(problem, 3 - threads, host()))


def test_the_default_plan_belongs_to_the_space():
    for problem in (PROBLEM, POINTS, Problem(DEPTHWISE, 1, 9, 9, 3, 3, (3, 3)), Problem(POINTWISE, 1, 1, 9, 3, 2)):
        for threads in (1, 2, 64):
            default = planner.default_plan(problem, threads, host())
            assert replace(default, reason="") in planner.space(problem, threads, host())


def test_activation_and_gaps_share_an_entry(path):
    plan = others(PROBLEM)[7]
    save(path, entry(plan, 1))
    assert choice(replace(PROBLEM, activation=Activation(low=0.0, high=6.0))) == Choice.of(plan)
    assert choice(replace(PROBLEM, activation=Activation("silu"))) == Choice.of(plan)
    assert choice(replace(PROBLEM, dense_pixels=False)).tile == str(plan.shape)


def test_a_near_problem_takes_the_tile_and_the_nearest_blocking(path):
    plan = next(plan for plan in others(PROBLEM) if plan.shape.pixels == 4 and plan.blocking.rows == PROBLEM.out_height)
    save(path, entry(plan, 1))
    near, far = replace(PROBLEM, height=30, width=30), replace(PROBLEM, height=60, width=60)
    assert planner.plan(near).shape == plan.shape
    assert planner.plan(near).reason.startswith(f"nearest tuned: {PROBLEM.key}")
    assert planner.plan(far).reason == "default"
    assert planner.plan(replace(near, stride=(2, 2))).reason == "default"
    assert planner.plan(replace(near, out_channels=128)).reason == "default"


def test_of_two_near_problems_the_nearer_counts(path):
    plans = others(PROBLEM)
    save(
        path,
        entry(replace(plans[0], problem=replace(PROBLEM, width=20)), 1),
        entry(replace(plans[-1], problem=replace(PROBLEM, width=26)), 1),
    )
    assert planner.plan(PROBLEM).shape == plans[-1].shape
    assert distance(PROBLEM, PROBLEM) == 0 < distance(PROBLEM, replace(PROBLEM, width=26)) < distance(PROBLEM, replace(PROBLEM, width=20))


def test_a_plan_that_no_kernel_offers_is_dropped(path):
    good = entry(others(PROBLEM)[3], 1)
    for plan in (
        replace(good.plan, kernel="depthwise_of_tomorrow"),
        replace(good.plan, kernel="pointwise"),
        replace(good.plan, tile="64x64x64x16_3t1s"),
        replace(good.plan, tile=""),
    ):
        save(path, replace(good, plan=plan))
        assert planner.plan(PROBLEM).reason == "default"
    save(path, replace(good, plan=replace(good.plan, rows=10**12, channels=3, threads=10**9)))
    assert planner.plan(PROBLEM).blocking in registry()["depthwise"].blockings(PROBLEM, planner.plan(PROBLEM).shape)
    assert planner.plan(PROBLEM).threads == 1


def test_entries_measured_with_other_kernels_are_not_used_and_that_is_said(path, caplog):
    save(path, replace(entry(others(PROBLEM)[3], 1), kernels="0123456789abcdef"))
    assert planner.plan(PROBLEM).reason == "default"
    assert "1 of 1 entries were measured with other kernels" in caplog.text


def test_entries_of_another_threading_layer_count_for_one_thread_only(path, monkeypatch):
    one, two = others(POINTS)[5], others(POINTS, 2)[5]
    save(path, entry(one, 1), entry(two, 2))
    monkeypatch.setenv("NUMBA_THREADING_LAYER", "workqueue")
    assert choice(POINTS, 1) == Choice.of(one)
    assert planner.plan(POINTS, 2).reason == "default"
    monkeypatch.setenv("NUMBA_THREADING_LAYER", "omp")
    fastdw.use_profile(None)
    assert choice(POINTS, 2) == Choice.of(two)


def test_the_system_profile_lies_under_the_users(path, tmp_path):
    mine, theirs = others(PROBLEM)[2], others(POINTS)[2]
    system = profile_files.system_paths()[0]
    assert system.is_relative_to(tmp_path)
    save(system, entry(others(PROBLEM)[9], 1), entry(theirs, 1))
    assert choice(PROBLEM) == Choice.of(others(PROBLEM)[9])
    save(path, entry(mine, 1))
    assert choice(PROBLEM) == Choice.of(mine)
    assert choice(POINTS) == Choice.of(theirs)


def test_off_means_none_at_all(path, monkeypatch):
    save(path, entry(others(PROBLEM)[2], 1))
    save(profile_files.system_paths()[0], entry(others(PROBLEM)[9], 1))
    for off in ("", "off"):
        monkeypatch.setenv("FASTDW_PROFILE", off)
        fastdw.use_profile(None)
        assert planner.plan(PROBLEM).reason == "default"
    with pytest.raises(ProfileError, match="FASTDW_PROFILE turns profiles off"):
        profile_files.user_path()


def test_programs_share_small_work_and_keep_what_was_measured_of_large(path):
    small = replace(PROBLEM, height=14, width=14)
    assert planner.plan(small, 2).threads == 1
    shared = planner.plan_in_program(small, 2)
    assert shared.threads == 2
    assert "program" in shared.reason
    assert planner.plan_in_program(PROBLEM, 2).threads == 2
    save(path, entry(planner.default_plan(PROBLEM, 1, host()), 2))
    assert planner.plan_in_program(PROBLEM, 2) == planner.plan(PROBLEM, 2)
    assert planner.plan(PROBLEM, 2).threads == 1


def test_use_profile_takes_effect_on_calls_that_were_made_before(path, tmp_path):
    x, weight = np.ones((1, 28, 28, 64), np.float32), np.ones((3, 3, 64), np.float32)
    before = fastdw.depthwise_conv2d(x, weight, padding="same", threads=1)
    plan = others(PROBLEM)[11]
    save(tmp_path / "other.json", entry(plan, 1))
    fastdw.use_profile(tmp_path / "other.json")
    assert Choice.of(fastdw.explain(fastdw.depthwise_conv2d, x, weight, padding="same", threads=1)) == Choice.of(plan)
    assert fastdw.depthwise_conv2d(x, weight, padding="same", threads=1).tobytes() == before.tobytes()
    fastdw.use_profile("off")
    assert planner.plan(PROBLEM).reason == "default"
    with pytest.raises(FileNotFoundError):
        fastdw.use_profile(tmp_path / "none.json")
    with pytest.raises(TypeError, match=r"^profile: got 3; expected a path"):
        fastdw.use_profile(3)
    with pytest.raises(ValueError, match=r"^profile: got '~no.such.user/x'; expected a path: .*home"):
        fastdw.use_profile("~no.such.user/x")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ProfileError, match="no JSON"):
        fastdw.use_profile(tmp_path / "bad.json")


def test_no_bit_changes_under_random_valid_profiles(path, request):
    rng = random.Random(request.config.getoption("--seed"))
    calls = {
        PROBLEM: lambda threads: fastdw.depthwise_conv2d(x, filters, bias, padding="same", activation="relu6", threads=threads),
        replace(POINTS, out_channels=64): lambda threads: fastdw.pointwise_conv2d(x, matrix, bias, residual=x, threads=threads),
    }
    values = np.random.default_rng(rng.randrange(1 << 32)).standard_normal
    x, filters, matrix, bias = (values(shape, np.float32) for shape in ((1, 28, 28, 64), (3, 3, 64), (64, 64), (64,)))
    expected = {problem: call(1).tobytes() for problem, call in calls.items()}
    for _ in range(4):
        profile = random_profile([(problem, threads) for problem in calls for threads in (1, 2)], rng)
        path.parent.mkdir(exist_ok=True)
        profile_files.write(path, profile)
        fastdw.use_profile(None)
        for problem, call in calls.items():
            for threads in (1, 2):
                said = f"--seed {request.config.getoption('--seed')}: {planner.plan(problem, threads)!r}"
                assert planner.plan(problem, threads).reason.startswith("tuned")
                assert call(threads).tobytes() == expected[problem], said


# ---- what may be wrong with one ----
def damage(what: str, path: Path) -> None:
    document = json.loads(path.read_text())
    match what:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-40])
        case "empty":
            path.write_bytes(b"")
        case "garbage":
            path.write_bytes(random.Random(0).randbytes(4096))
        case "another document":
            path.write_text('["schema", 1]')
        case "deeply nested":
            path.write_text("[" * 100_000)
        case "newer schema":
            path.write_text(json.dumps(document | {"schema": 2}))
        case "other machine":
            path.write_text(json.dumps(document | {"machine": document["machine"] | {"cpu": "Cortex-A72"}}))
        case "directory":
            path.unlink()
            path.mkdir()
        case "pipe":
            path.unlink()
            os.mkfifo(path)
        case "loop of links":
            path.unlink()
            path.symlink_to(path)


DAMAGES = {
    "truncated": "no JSON",
    "empty": "it is empty",
    "garbage": "no JSON",
    "another document": "no profile",
    "deeply nested": "no JSON",
    "newer schema": "its schema 2 is newer than this fastdw's, 1",
    "other machine": "another machine (cpu 'Cortex-A72' instead of",
    "directory": "a directory",
    "pipe": "no regular file",
    "loop of links": "symbolic links",
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_profile_costs_one_warning_and_no_entry(what, path, caplog):
    plan = others(PROBLEM)[4]
    save(path, entry(plan, 1))
    damage(what, path)
    fastdw.use_profile(None)
    for problem in (PROBLEM, POINTS):
        assert planner.plan(problem).reason == "default"
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert DAMAGES[what] in warnings[0]
    assert str(path) in warnings[0]

    before = path.read_bytes() if path.is_file() else None
    if what in ("truncated", "empty", "garbage", "another document", "deeply nested"):
        said = profile_files.update(path, [entry(others(POINTS)[4], 1)])
        assert "kept as profile.json.damaged" in said
        assert path.with_name("profile.json.damaged").read_bytes() == before
        fastdw.use_profile(None)
        assert choice(POINTS) == Choice.of(others(POINTS)[4])
    else:
        with pytest.raises(ProfileError):
            profile_files.update(path, [entry(plan, 1)])
        assert before is None or path.read_bytes() == before


BAD_VALUES = [None, True, -1, 0, 1.5, 10**400, float("nan"), "", "depthwise", [], [3], [[1]], {}, {"a": 1}]


def test_a_bad_value_anywhere_costs_one_entry_at_most(path, request):
    rng = random.Random(request.config.getoption("--seed"))
    good, bad = entry(others(PROBLEM)[4], 1), entry(others(POINTS)[4], 1)
    save(path, good, bad)
    text = path.read_text()

    def places(value, found=()):
        yield found
        for name in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            yield from places(value[name], (*found, name))

    spots = [spot for spot in places(json.loads(text)["entries"][1]) if spot]
    for spot in spots:
        for value in rng.sample(BAD_VALUES, 5):
            document = json.loads(text)
            *way, last = ("entries", 1, *spot)
            parent = document
            for step in way:
                parent = parent[step]
            parent[last] = value
            profile = Profile.from_json(json.loads(json.dumps(document)))
            assert good.key in profile.entries
            assert len(profile.entries) + len(profile.dropped) == 2, (spot, value)
            for kept in profile.entries.values():
                planner.adapt(kept.plan, kept.problem, kept.threads, host())
                assert distance(kept.problem, PROBLEM) >= 0
    with pytest.raises(Damaged):
        Profile.from_json(json.loads(text) | {"schema": True})


def test_unreadable(path):
    save(path, entry(others(PROBLEM)[4], 1))
    path.chmod(0)
    run = as_nobody("print(planner.plan(PROBLEM).reason)", FASTDW_PROFILE=str(path))
    assert run.stdout.strip() == "default"
    assert run.stderr.count("profile not used") == 1
    assert "Permission denied" in run.stderr


@pytest.mark.parametrize("home", ["read-only", "missing", "none"])
def test_homes_in_which_nothing_can_be_kept(home, tmp_path):
    folder = tmp_path / "home"
    if home == "read-only":
        folder.mkdir(0o555)
    code = (
        "plan = planner.plan(PROBLEM)\n"
        "try: profile_files.update(profile_files.user_path(), [entry(plan, 1)])\n"
        "except ProfileError as error: print(plan.reason, 'but', error)\n"
    )
    run = as_nobody(code, HOME=None if home == "none" else str(folder), FASTDW_PROFILE=None, XDG_DATA_HOME=None)
    assert run.stdout.startswith("default but "), run.stderr
    assert ("no place for a profile" if home == "none" else "cannot be written") in run.stdout
    assert run.stderr == ""


def as_nobody(code: str, **variables: str | None) -> subprocess.CompletedProcess:
    """A process without root's rights, which pass all permissions; its user has no home where HOME is not given.

    The package may lie in a folder of root's: what reads its files is called before.
    """
    start = (
        "import os, sys, platformdirs; sys.path[:0] = [os.environ['TESTS']]\n"
        "from test_profile import PROBLEM, ProfileError, entry, planner, profile_files\n"
        "entry(planner.default_plan(PROBLEM, 1, planner.host()), 1)\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(54321); os.setuid(54321)\n"
    )
    variables = {"XDG_DATA_DIRS": "/nonexistent"} | variables
    variables = {name: value for name, value in (os.environ | environment_of_writers() | variables).items() if value is not None}
    run = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, env=variables, cwd="/", timeout=60)
    assert run.returncode == 0, run.stderr
    return run


def environment_of_writers() -> dict[str, str]:
    return {"TESTS": str(Path(__file__).parent), "PYTHONPATH": str(Path(fastdw.__file__).parent.parent)}


# ---- writing ----
@pytest.mark.parametrize("call", ["write", "fsync", "replace", "mkstemp"])
def test_a_full_disk_leaves_the_profile_as_it_was(call, path, monkeypatch):
    save(path, entry(others(PROBLEM)[4], 1))
    before = path.read_bytes()

    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    if call == "write":
        monkeypatch.setattr(os, "fdopen", lambda handle, mode: open("/dev/full", mode))  # noqa: SIM115
    else:
        monkeypatch.setattr(profile_files.tempfile if call == "mkstemp" else os, call, full)
    with pytest.raises(ProfileError, match="No space left on device"):
        profile_files.update(path, [entry(others(POINTS)[4], 1)])
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert {file.name for file in path.parent.iterdir()} <= {"profile.json", "profile.json.lock"}


WRITER = """
import os, sys
sys.path[:0] = [os.environ["TESTS"]]
from profiles import entry
from dataclasses import replace
from pathlib import Path
from fastdw import planner, profile_files
from fastdw.problem import Problem
from fastdw.machine import host
first = int(sys.argv[2])
plan = planner.default_plan(Problem("pointwise", 1, 1, 50, 16, 16), 1, host())
print("ready", flush=True)
for width in range(first, first + int(sys.argv[3])):
    profile_files.update(Path(sys.argv[1]), [entry(replace(plan, problem=replace(plan.problem, width=width)), 1)])
    print(width, flush=True)
"""


def start_writer(path: Path, first: int, count: int) -> subprocess.Popen:
    arguments = [sys.executable, "-c", WRITER, str(path), str(first), str(count)]
    return subprocess.Popen(arguments, env=os.environ | environment_of_writers(), stdout=subprocess.PIPE, text=True)


def widths(path: Path) -> set[int]:
    profile = profile_files.read_own(path)
    assert not profile.dropped
    return {entry.problem.width for entry in profile.entries.values()}


def test_two_tuners_lose_nothing_of_each_other(path):
    writers = [start_writer(path, first, 15) for first in (1000, 2000)]
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert widths(path) == {first + i for first in (1000, 2000) for i in range(15)}


def test_killed_at_any_moment(path, request):
    rng = random.Random(request.config.getoption("--seed"))
    kept: set[int] = set()
    for turn in range(6):
        writer = start_writer(path, 1000 * (turn + 1), 1000)
        assert writer.stdout.readline() == "ready\n"
        if turn % 2:
            assert writer.stdout.readline() == f"{1000 * (turn + 1)}\n"
        time.sleep(rng.random() * 0.05)
        writer.send_signal(signal.SIGKILL)
        said = {int(line) for line in writer.communicate()[0].split("\n")[:-1]}
        kept |= said | ({1000 * (turn + 1)} if turn % 2 else set())
        found = widths(path) if path.exists() else set()
        assert kept <= found
        assert len(found - kept) <= turn + 1  # written, but not said any more
    an_hour_ago = time.time() - profile_files.LEFTOVER_SECONDS - 1
    for left in path.parent.glob(f".*{profile_files.TEMPORARY}"):
        os.utime(left, (an_hour_ago, an_hour_ago))
    save(path, entry(others(PROBLEM)[4], 1))
    assert {file.name for file in path.parent.iterdir()} == {"profile.json", "profile.json.lock"}


def test_profiles_in_one_folder_leave_each_others_files_alone(path):
    """A file that another profile writes just now, one that it set aside, and the user's own."""
    save(path.with_name("profile.v2.json"), entry(others(POINTS)[4], 1))
    theirs = [".profile.v2.json-1234" + profile_files.TEMPORARY, "profile.v2.json.damaged", "profile.x.tmp", "profile.damaged"]
    an_hour_ago = time.time() - profile_files.LEFTOVER_SECONDS - 1
    for name in theirs:
        path.with_name(name).write_text("theirs")
        os.utime(path.with_name(name), (an_hour_ago, an_hour_ago))
    path.write_text("no profile")
    profile_files.update(path, [entry(others(PROBLEM)[4], 1)])
    assert [path.with_name(name).read_text() for name in theirs] == ["theirs"] * len(theirs)
    assert path.with_name("profile.json.damaged").read_text() == "no profile"


def test_what_was_left_is_found_whatever_the_name(path):
    named = path.with_name("profile[1].json")
    left = path.with_name(f".profile[1].json-1234{profile_files.TEMPORARY}")
    path.parent.mkdir(exist_ok=True)
    left.write_text("")
    profile_files.update(named, [])
    assert left.exists()
    os.utime(left, (0, 0))
    profile_files.update(named, [])
    assert not left.exists()


def test_a_link_stays_and_what_is_no_file_is_not_replaced(path):
    profile = Profile(host().identity, [entry(others(PROBLEM)[4], 1)])
    path.parent.mkdir(exist_ok=True)
    target = path.with_name("target.json")
    path.symlink_to(target)
    profile_files.write(path, profile)
    assert path.is_symlink()
    assert profile_files.read_own(target).entries == profile.entries
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    for place, why in ((pipe, "it is no regular file"), (path.parent, "it is a directory"), (pipe.with_name("no") / "such", "No such")):
        with pytest.raises(ProfileError, match=f"^{re.escape(str(place))}: .*{why}"):
            profile_files.write(place, profile)
    assert pipe.is_fifo()


# ---- merging ----
def test_merging_takes_all_and_prefers_what_is_current(path):
    old, new = (entry(plan, 1) for plan in others(PROBLEM)[3:5])
    stale = replace(new, kernels="0123456789abcdef")
    points = entry(others(POINTS)[1], 1)
    merged = Profile({}, [old])
    merged.merge(Profile({}, [stale, points]))
    assert merged.entries == {old.key: old, points.key: points}
    merged.merge(Profile({}, [new]))
    assert merged.entries[new.key] == new


def test_a_profile_survives_being_written_and_read(path):
    entries = [replace(entry(others(POINTS, 2)[1], 2), runner_up=Choice("pointwise", "1x7x2x16", 4, 5, 2)), entry(others(PROBLEM)[1], 1)]
    save(path, *entries)
    profile = profile_files.read_own(path)
    assert list(profile.entries.values()) == entries
    assert profile.machine == host().identity
