"""One call of fastdw in a process of its own: what it compiled, the bits of its result, what it warned of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import fastdw

PACKAGE = Path(fastdw.__file__).parent
TIMEOUT_SECONDS = 600
DROP_PRIVILEGES = """
import ctypes
assert ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()) == 0  # file permissions bind root too
"""
CALL = """
import hashlib, json, logging
warned = []
handler = logging.Handler()
handler.emit = lambda record: warned.append(record.getMessage())
logging.getLogger("fastdw").addHandler(handler)

import numpy as np
import fastdw
from fastdw import jit

rng = np.random.default_rng(0)
x, weight, bias = (rng.standard_normal(shape, np.float32) for shape in ((1, 5, 7, 9), (9, 40), (40,)))
y = fastdw.pointwise_conv2d(x, weight, bias, activation="relu")
print(json.dumps({"compiled": jit.compilations(), "bits": hashlib.sha256(y.tobytes()).hexdigest(), "warned": warned}))
"""


@dataclass(frozen=True)
class Run:
    """What one process reports."""

    compiled: list[str]
    bits: str
    warned: list[str]


def start(cache: Path | str | None, package: Path = PACKAGE, before: str = "", **environment: str) -> subprocess.Popen:
    """A process of its own that makes one call; cache=None leaves FASTDW_CACHE_DIR unset."""
    inherited = {name: value for name, value in os.environ.items() if name != "FASTDW_CACHE_DIR"}
    chosen = {} if cache is None else {"FASTDW_CACHE_DIR": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-P", "-W", "error", "-c", before + CALL],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=inherited | chosen | {"PYTHONPATH": str(package.parent), "OPENBLAS_NUM_THREADS": "1"} | environment,
    )


def finish(process: subprocess.Popen) -> Run:
    printed, complained = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0, complained
    return Run(**json.loads(printed))


def run(*arguments, **keywords) -> Run:
    return finish(start(*arguments, **keywords))
