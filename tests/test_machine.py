"""What fastdw makes of a machine, from /proc and /sys as they are on several."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import machines
import pytest

import fastdw
from fastdw import machine
from fastdw.machine import Machine, detect

LAPTOP = """\
processor	: 0
vendor_id	: GenuineIntel
model name	: Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz
flags		: fpu sse sse2 ssse3 fma sse4_1 sse4_2 avx f16c avx2 bmi2
"""
SERVER = """\
processor	: 0
model name	: AMD EPYC 9B14
flags		: fpu sse sse2 fma avx avx2 avx512f avx512dq avx512vl avx512bw
"""
KNIGHTS_LANDING = "model name\t: Intel(R) Xeon Phi(TM) CPU 7250\nflags\t\t: sse2 fma avx2 avx512f avx512er avx512cd\n"
OLD = "model name\t: Intel(R) Atom(TM) CPU N270\nflags\t\t: fpu sse sse2 ssse3\n"
PI_4 = """\
processor	: 0
BogoMIPS	: 108.00
Features	: fp asimd evtstrm crc32 cpuid
CPU implementer	: 0x41
CPU part	: 0xd08

Hardware	: BCM2835
Model		: Raspberry Pi 4 Model B Rev 1.4
"""


@pytest.fixture(autouse=True)
def no_other_target(monkeypatch):
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def architecture(monkeypatch):
    return lambda name: monkeypatch.setattr(platform, "machine", lambda: name)


def write(root: Path, file: str, text: str) -> None:
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_cache(root: Path, core: int, index: int, level: int, kind: str, size: str) -> None:
    folder = f"sys/devices/system/cpu/cpu{core}/cache/index{index}"
    for name, value in {"level": str(level), "type": kind, "size": size}.items():
        write(root, f"{folder}/{name}", f"{value}\n")


def test_laptop(tmp_path, architecture):
    architecture("x86_64")
    write(tmp_path, "proc/cpuinfo", LAPTOP)
    for core in range(2):
        write_cache(tmp_path, core, 0, 1, "Data", "32K")
        write_cache(tmp_path, core, 1, 1, "Instruction", "16K")
        write_cache(tmp_path, core, 2, 2, "Unified", "256K")
        write_cache(tmp_path, core, 3, 3, "Unified", "6144K")
    found = detect(tmp_path)
    assert found.name == "Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz"
    assert found.architecture == "x86_64"
    assert (found.lanes, found.registers) == (8, 16)
    assert (found.l1_bytes, found.l2_bytes) == (32 << 10, 256 << 10)


def test_server_with_wide_vectors(tmp_path, architecture):
    architecture("x86_64")
    write(tmp_path, "proc/cpuinfo", SERVER)
    write_cache(tmp_path, 0, 0, 1, "Data", "48K")
    write_cache(tmp_path, 0, 2, 2, "Unified", "1M")
    found = detect(tmp_path)
    assert found.architecture == "x86_64"
    assert (found.lanes, found.registers) == (16, 32)
    assert (found.l1_bytes, found.l2_bytes) == (48 << 10, 1 << 20)


def test_wide_vectors_need_both_of_their_features(tmp_path, architecture):
    architecture("x86_64")
    write(tmp_path, "proc/cpuinfo", KNIGHTS_LANDING)
    assert detect(tmp_path).lanes == 8


def test_old_x86(tmp_path, architecture):
    architecture("x86_64")
    write(tmp_path, "proc/cpuinfo", OLD)
    found = detect(tmp_path)
    assert (found.lanes, found.registers) == (4, 16)


def test_raspberry_pi_4_tells_no_caches(tmp_path, architecture):
    architecture("aarch64")
    write(tmp_path, "proc/cpuinfo", PI_4)
    found = detect(tmp_path)
    assert found.name == "Raspberry Pi 4 Model B Rev 1.4"
    assert "asimd" in found.features
    assert (found.lanes, found.registers) == (4, 32)
    assert (found.l1_bytes, found.l2_bytes) == (None, None)


def test_unequal_cores_count_as_the_smallest(tmp_path, architecture):
    architecture("arm64")
    write(tmp_path, "proc/cpuinfo", PI_4)
    for core, size in enumerate(("32K", "64K", "64K", "32K")):
        write_cache(tmp_path, core, 0, 1, "Data", size)
    found = detect(tmp_path)
    assert found.architecture == "aarch64"
    assert found.l1_bytes == 32 << 10


@pytest.mark.parametrize(("name", "lanes", "registers"), [("x86_64", 4, 16), ("aarch64", 4, 32), ("riscv64", 4, 16)])
def test_nothing_under_the_root(name, lanes, registers, tmp_path, architecture):
    architecture(name)
    found = detect(tmp_path)
    assert found.name
    assert (found.lanes, found.registers) == (lanes, registers)
    assert (found.l1_bytes, found.l2_bytes) == (None, None)
    assert found.cores >= 1


def test_unreadable_numbers_are_unknown(tmp_path, architecture):
    architecture("x86_64")
    (tmp_path / "proc/cpuinfo").mkdir(parents=True)
    write_cache(tmp_path, 0, 0, 1, "Data", "")
    write_cache(tmp_path, 0, 2, 2, "Unified", "many")
    found = detect(tmp_path)
    assert found.features == {"sse2"}
    assert (found.l1_bytes, found.l2_bytes) == (None, None)


# ---- what Numba is told to compile for ----
TARGETS = [
    {},
    {"NUMBA_CPU_NAME": "haswell"},
    {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""},
    {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""},
    {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+avx2,+fma"},
    {"NUMBA_CPU_NAME": "skylake-avx512", "NUMBA_CPU_FEATURES": ""},
    {"NUMBA_CPU_NAME": "skylake-avx512", "NUMBA_CPU_FEATURES": "-avx512f"},
]
COMPARE = """
from numba import types
from fastdw import jit
from fastdw.kernels.pointwise import pointwise
from fastdw.machine import host
from fastdw.tile import TileShape

signature = (TileShape(1, 2, 1, 16)._numba_type_, types.intp, types.intp)
dispatcher = jit._dispatcher(pointwise.function, cached=False)
dispatcher.compile(signature)
assembly = dispatcher.inspect_asm(signature)
lanes = 16 if "%zmm" in assembly else 8 if "%ymm" in assembly else 4
assert lanes == host().lanes, f"compiled for {lanes} lanes, planned for {host()}"
assert ("vfmadd" in assembly) == ("fma" in host().features), f"fused: {'vfmadd' in assembly}, but {host()}"
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the targets are x86 CPUs")
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_vectors_are_as_wide_as_what_numba_compiles_for(target):
    """Numba takes the host's features for any NUMBA_CPU_NAME, unless NUMBA_CPU_FEATURES is set, be it to nothing."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CPU")}
    environment = inherited | {"PYTHONPATH": str(Path(fastdw.__file__).parent.parent)} | target
    environment["FASTDW_CACHE_DIR"] = "off"
    run = subprocess.run([sys.executable, "-P", "-c", COMPARE], env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr


def test_a_machine_can_be_a_key():
    here = machine.host()
    assert len({here, replace(here)}) == 1
    assert isinstance(here, Machine)


# ---- kinds of cores ----
def cores(*models: str) -> Machine:
    return Machine("board", "aarch64", frozenset({"asimd"}), 4, None, None, models)


@pytest.mark.parametrize(
    ("models", "core", "is_in_order"),
    [
        (("0x41-0xd08",), "cortex-a72", False),
        (("0x41-0xd03", "0x41-0xd08"), "cortex-a53", True),
        (("0x41-0xd08", "0x41-0xd03"), "cortex-a53", True),
        (("0x41-0xd0b", "0x41-0xfff"), "cortex-a76", False),
        (("0x41-0xfff",), None, False),
        ((), None, False),
    ],
)
def test_kernels_are_tuned_for_the_core_that_issues_in_order(models, core, is_in_order):
    assert cores(*models).core == core
    assert cores(*models).is_in_order == is_in_order


def test_a_cpu_named_to_numba_is_left_to_it(monkeypatch):
    monkeypatch.setattr(machine, "host", lambda: cores("0x41-0xd03"))
    assert machine.tuned_core() == "cortex-a53"
    monkeypatch.setenv("NUMBA_CPU_NAME", "cortex-a72")
    assert machine.tuned_core() is None


@pytest.mark.parametrize(("board", "core"), [("raspberry-pi-4", "cortex-a72"), ("raspberry-pi-5", "cortex-a76")])
def test_boards(board, core, tmp_path, architecture):
    architecture("aarch64")
    found = detect(machines.lay(board, tmp_path))
    assert (found.core, found.lanes, found.registers) == (core, 4, 32)


def test_cores_by_class_the_quickest_first(tmp_path):
    cores = "".join(
        f"processor : {core}\nCPU implementer : 0x41\nCPU part : {part}\n\n" for core, part in enumerate(["0xd05"] * 4 + ["0xd0b"] * 2)
    )
    write(tmp_path, "proc/cpuinfo", cores)
    for core, kilohertz in enumerate([1800000] * 4 + [2200000] * 2):
        write(tmp_path, f"sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq", f"{kilohertz}\n")
    assert [(one.megahertz, one.cores) for one in machine.core_classes(tmp_path)] == [(2200, (4, 5)), (1800, (0, 1, 2, 3))]
    assert machine.core_classes(tmp_path / "nothing") == []


def test_vector_features_leave_out_the_rest():
    found = Machine("", "x86_64", frozenset({"sse2", "avx2", "smep", "smap", "fpu", "fma"}), 1, None, None)
    assert found.vector_features == ["avx2", "fma", "sse2"]
