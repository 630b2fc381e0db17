"""Every environment variable that fastdw itself reads, at the moment it is needed."""

from __future__ import annotations

import os
from pathlib import Path

OFF = ("", "off")


def cache_directory() -> Path | None:
    """FASTDW_CACHE_DIR: where compiled kernels are kept; the user's cache directory where unset, none where empty or "off"."""
    given = os.environ.get("FASTDW_CACHE_DIR")
    if given is not None:
        return None if given in OFF else Path(given).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("fastdw", appauthor=False)).expanduser()  # an error where there is no home


def strict() -> bool:
    """FASTDW_STRICT=1: refuse a problem that only the reference kernel serves."""
    return os.environ.get("FASTDW_STRICT", "0") not in ("", "0")


def profile() -> str | None:
    """FASTDW_PROFILE: the file of measured plans; the user's own for this machine where unset, none where empty or "off"."""
    return os.environ.get("FASTDW_PROFILE")


def may_compile() -> bool:
    """FASTDW_NO_COMPILE=1: refuse rather than compile."""
    return os.environ.get("FASTDW_NO_COMPILE", "0") in ("", "0")


def threading_layer() -> str | None:
    """NUMBA_THREADING_LAYER, where it names one layer; None where Numba looks for one itself."""
    name = os.environ.get("NUMBA_THREADING_LAYER", "default")
    return name if name in ("omp", "tbb", "workqueue") else None


def cpu_name() -> str | None:
    """NUMBA_CPU_NAME: the CPU that Numba compiles for; the host where unset."""
    return os.environ.get("NUMBA_CPU_NAME")


def cpu_features() -> str | None:
    """NUMBA_CPU_FEATURES: "+feature,-feature,...", by which that CPU differs."""
    return os.environ.get("NUMBA_CPU_FEATURES")
