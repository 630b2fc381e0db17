"""How many cores may be used: affinity, and quotas of control groups of both versions, nested, and changed while a process runs."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from fastdw import limits

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "33 31 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:5 - cgroup cgroup rw,cpu,cpuacct"
V1_OTHER = "34 31 0:30 / /sys/fs/cgroup/memory rw,nosuid shared:6 - cgroup cgroup rw,memory"


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def version_1(quota: int, period: int = 100000, group: str = "") -> dict[str, str]:
    folder = f"sys/fs/cgroup/cpu,cpuacct/{group}"
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("20000 100000\n", 1),
        ("9900000 100000\n", 8),
        ("", 8),
        ("200000", 8),
        ("0 0\n", 8),
        ("garbage \x00 here", 8),
    ],
)
def test_a_quota(quota, cores, tmp_path):
    assert limits.read_cores(write(tmp_path, {"sys/fs/cgroup/cpu.max": quota})) == cores, "without /proc the usual place is read"
    files = {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2 + "\n"}
    assert limits.read_cores(write(tmp_path, files)) == cores


NESTED = {"proc/self/cgroup": "0::/user.slice/user-1000.slice/app.service\n", "proc/self/mountinfo": f"{V1_OTHER}\n{V2}\n"}


@pytest.mark.parametrize("group", ["", "user.slice/", "user.slice/user-1000.slice/", "user.slice/user-1000.slice/app.service/"])
def test_every_slice_above_counts(group, tmp_path):
    files = {f"sys/fs/cgroup/{group}cpu.max": "300000 100000\n"}
    assert limits.read_cores(write(tmp_path, NESTED | files)) == 3


def test_the_smallest_slice_decides(tmp_path):
    quotas = {
        "user.slice": "400000 100000",
        "user.slice/user-1000.slice": "50000 25000",
        "user.slice/user-1000.slice/app.service": "max 100000",
    }
    files = {f"sys/fs/cgroup/{group}/cpu.max": quota for group, quota in quotas.items()}
    other = {"sys/fs/cgroup/system.slice/cpu.max": "100000 100000"}
    assert limits.read_cores(write(tmp_path, NESTED | files | other)) == 2


HYBRID = "9:memory:/docker/c0\n4:cpu,cpuacct:/docker/c0\n1:name=systemd:/\n0::/\n"


@pytest.mark.parametrize(
    ("top", "group"),
    [("/", "docker/c0"), ("/", "docker"), ("/docker/c0", ""), ("/docker", "c0")],
    ids=["host", "parent on the host", "container without a namespace", "mounted half way"],
)
def test_version_1(top, group, tmp_path):
    mounts = f"{V1_OTHER}\n{V1.format(top=top)}\n30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    files = {"proc/self/cgroup": HYBRID, "proc/self/mountinfo": mounts}
    assert limits.read_cores(write(tmp_path, files | version_1(-1, group=group))) == 8
    assert limits.read_cores(write(tmp_path, files | version_1(150000, group=group))) == 2
    assert limits.read_cores(write(tmp_path, files | version_1(10000, 5000, group=group))) == 2


@pytest.mark.parametrize("path", ["/docker/elsewhere", "/../../other", "/"])
def test_a_container_that_sees_a_path_of_its_host(path, tmp_path):
    files = {"proc/self/cgroup": f"4:cpu,cpuacct:{path}\n", "proc/self/mountinfo": V1.format(top="/docker/c0")}
    assert limits.read_cores(write(tmp_path, files | version_1(200000))) == 2


def test_a_mount_point_with_a_space(tmp_path):
    mount = "30 23 0:26 / /sys/my\\040groups rw - cgroup2 cgroup2 rw"
    files = {"proc/self/cgroup": "0::/a\\040b\n", "proc/self/mountinfo": mount, "sys/my groups/cpu.max": "100000 100000"}
    assert limits.read_cores(write(tmp_path, files)) == 1


def test_nothing_readable(tmp_path):
    assert limits.read_cores(write(tmp_path, {"proc/self/cgroup": "\n::\nx", "proc/self/mountinfo": "1 - \n - cgroup2\n"})) == 8


@pytest.mark.parametrize("count", [6, None])
def test_without_an_affinity(count, tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(psutil, "cpu_count", lambda: count)
    assert limits.read_cores(tmp_path) == (count or 1)


def test_a_change_is_seen_after_a_while(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(limits, "monotonic", lambda: clock[0])
    monkeypatch.setattr(limits, "_known", limits._Known())
    monkeypatch.setattr(limits, "read_cores", lambda: 4)
    assert limits.usable_cores() == 4
    monkeypatch.setattr(limits, "read_cores", lambda: 1)
    assert limits.usable_cores() == 4
    clock[0] += limits.FRESH_SECONDS
    assert limits.usable_cores() == 1
