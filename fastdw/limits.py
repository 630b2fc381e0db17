"""How many cores may be used now: the affinity of the calling thread, bounded by the quotas of the control groups it lies in."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from time import monotonic

FRESH_SECONDS = 1.0  # limits change while a process runs: what was read is believed for so long


class _Known(threading.local):
    cores = 0
    until = 0.0


_known = _Known()


def usable_cores() -> int:
    """As read within the last second by this thread."""
    now = monotonic()
    if now >= _known.until:
        _known.cores, _known.until = read_cores(), now + FRESH_SECONDS
    return _known.cores


def read_cores(root: Path = Path("/")) -> int:
    """From the system, whose /proc and /sys lie under root."""
    quota = min(_quotas(root), default=None)
    cores = _affinity()
    return cores if quota is None else min(cores, max(1, quota))


def _affinity() -> int:
    """Also bounds by the cpuset of a control group, which the kernel intersects it with."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not on Linux, or forbidden
        import psutil

        return psutil.cpu_count() or 1


def _quotas(root: Path) -> Iterator[int]:
    """Whole cores, rounded up, of every control group above this process that states a quota."""
    for unified, mount, inner in _hierarchies(root):
        group = mount / inner
        while True:
            if unified:
                quota, _, period = _read(group / "cpu.max").partition(" ")
            else:
                quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
            if re.fullmatch(r"\d+", quota) and re.fullmatch(r"\d*[1-9]\d*", period):
                yield -(-int(quota) // int(period))
            if group == mount:
                break
            group = group.parent


def _hierarchies(root: Path) -> Iterator[tuple[bool, Path, str]]:
    """Each that bounds processor time: is it of version 2, where is it mounted, and this process's group below that."""
    groups = {}
    for line in _read(root / "proc/self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        groups.update(dict.fromkeys(controllers.split(","), path))
    for unified, mount, top in _mounts(root):
        yield unified, mount, _below(groups.get("" if unified else "cpu", "/"), top)


@cache
def _mounts(root: Path) -> list[tuple[bool, Path, str]]:
    """Of each hierarchy that bounds processor time: is it of version 2, the mount point, the group that is mounted there."""
    found = []
    for line in _read(root / "proc/self/mountinfo").splitlines():
        place, _, kind = line.partition(" - ")
        places, kinds = place.split(), kind.split()
        unified = kinds[:1] == ["cgroup2"]
        if len(places) > 4 and (unified or (kinds[:1] == ["cgroup"] and "cpu" in kinds[-1].split(","))):
            found.append((unified, root / _unescaped(places[4]).lstrip("/"), _unescaped(places[3])))
    usual = root / "sys/fs/cgroup"
    return found or [(True, usual, "/"), (False, usual / "cpu", "/")]


def _below(path: str, top: str) -> str:
    """The part of a group's path below the group that is mounted; nothing where a container sees paths of its host."""
    top = top.rstrip("/")
    inner = path.removeprefix(f"{top}/") if f"{path}/".startswith(f"{top}/") else ""
    return "" if ".." in inner.split("/") else inner.strip("/")


def _unescaped(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), path)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
