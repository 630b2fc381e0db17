"""The machine, the versions and the commit that a result belongs to."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import fastdw
from fastdw.machine import host

DISTRIBUTIONS = ("numba", "llvmlite", "numpy")
UNKNOWN_CACHE_BYTES = 32 << 20


def describe() -> dict:
    """Named facts, ready for JSON."""
    machine = host()
    return {
        "cpu": machine.name,
        "architecture": machine.architecture,
        "lanes": machine.lanes,
        "cores": machine.cores,
        "last_cache_bytes": last_cache_bytes(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {"fastdw": fastdw.__version__, **{name: version(name) for name in DISTRIBUTIONS}},
        "commit": commit(),
        "load": os.getloadavg()[0],
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The checked-out commit, marked where the tree differs from it; None outside a repository."""
    folder = Path(__file__).parent
    try:
        command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def last_cache_bytes() -> int:
    """The largest cache that the first core sees; a guess that is large enough where the system does not tell."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text().strip()
        sizes.append(int(text.rstrip("KM")) << {"K": 10, "M": 20}.get(text[-1], 0))
    return max(sizes, default=UNKNOWN_CACHE_BYTES)
