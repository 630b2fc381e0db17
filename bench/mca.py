"""Cycles of a loop on a core, simulated by llvm-mca: every access hits L1, every branch is predicted.

FASTDW_LLVM_MCA names the program; it has to be of version 19, since other versions model the cores differently.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache

from bench.cross import Core

VERSION = "19"
TURNS = (100, 300)  # the second less the first: without what comes before the loop turns steadily


class Missing(RuntimeError):
    pass


@cache
def program() -> str:
    """
    Raises:
      Missing: there is no llvm-mca of the version.
    """
    named = os.environ.get("FASTDW_LLVM_MCA")
    path = named or shutil.which(f"llvm-mca-{VERSION}") or shutil.which("llvm-mca")
    if path is None:
        raise Missing(f"no llvm-mca {VERSION}; .ci/llvm-mca fetches one, FASTDW_LLVM_MCA names it")
    told = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
    if f"LLVM version {VERSION}." not in told:
        raise Missing(f"{path} is not of version {VERSION}: {told.strip()[:60]!r}")
    return path


def cycles(core: Core, instructions: tuple[str, ...]) -> float:
    """Of one turn of a loop."""
    few, many = (_total_cycles(core.triple, core.simulated_as, instructions, turns) for turns in TURNS)
    return (many - few) / (TURNS[1] - TURNS[0])


@cache
def _total_cycles(triple: str, cpu: str, instructions: tuple[str, ...], turns: int) -> int:
    labels = sorted({label for line in instructions for label in re.findall(r"\.L\w+", line)})
    text = "\n".join([*instructions, *(f"{label}:" for label in labels)])
    command = [
        program(),
        f"-mtriple={triple}",
        f"-mcpu={cpu}",
        f"-iterations={turns}",
        "-resource-pressure=false",
        "-instruction-info=false",
    ]
    run = subprocess.run(command, input=text, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"llvm-mca: {run.stderr.strip()[-300:]}")
    return int(re.search(r"Total Cycles:\s+(\d+)", run.stdout)[1])
