"""What fastdw makes of boards, small computers, containers and virtual machines, from what their /proc and /sys tell."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.cross import CORES, compile_for
from fastdw import limits
from fastdw.kernels.spec import registry
from fastdw.machine import Machine, core_classes, detect, reported_caches
from fastdw.planner import default_plan
from fastdw.problem import DEPTHWISE, POINTWISE, Problem

A53, A57, A72, A73, A76, A78AE = "0xd03", "0xd07", "0xd08", "0xd09", "0xd0b", "0xd42"
ARM8 = "fp asimd evtstrm crc32 cpuid"
CRYPTO = "fp asimd evtstrm aes pmull sha1 sha2 crc32"
ARM82 = f"{CRYPTO} atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
SSE4 = "fpu tsc cx8 cmov mmx fxsr sse sse2 ht pni ssse3 cx16 sse4_1 sse4_2 movbe popcnt aes rdrand"
AVX2 = f"{SSE4} xsave avx f16c fma bmi1 avx2 bmi2"
AVX512 = f"{AVX2} avx512f avx512dq avx512cd avx512bw avx512vl"


@dataclass(frozen=True)
class Board:
    """What a machine tells. cores: the part (on x86: family and model) and highest MHz of each; caches: KB of each core's, by level.

    like: the core of bench.cross whose machine code may run there. classes, name, tuned: what detection is to find.
    """

    architecture: str
    features: str
    cores: list[tuple[str, int | None]]
    caches: list[dict[int, int]]
    like: str
    name: str
    tuned: str | None
    classes: list[tuple[int | None, int]]  # MHz and how many
    files: dict[str, str] = field(default_factory=dict)
    model_name: str = ""
    lanes: int = 4
    usable: int | None = None

    def lay(self, root: Path) -> Path:
        blocks = []
        for number, (part, megahertz) in enumerate(self.cores):
            lines = {"processor": number, "model name": self.model_name}
            if self.architecture == "aarch64":
                lines |= {"Features": self.features, "CPU implementer": "0x41", "CPU part": part}
            else:
                lines |= {"cpu family": part.split("-")[0], "model": part.split("-")[1], "flags": self.features}
            blocks.append("".join(f"{key}\t: {value}\n" for key, value in lines.items() if value != ""))
            cpu = f"sys/devices/system/cpu/cpu{number}"
            if megahertz:
                write(root, f"{cpu}/cpufreq/cpuinfo_max_freq", f"{megahertz * 1000}\n")
            for index, (level, kilobytes) in enumerate(self.caches[min(number, len(self.caches) - 1)].items() if self.caches else ()):
                for name, value in {"level": level, "type": "Data" if level == 1 else "Unified", "size": f"{kilobytes}K"}.items():
                    write(root, f"{cpu}/cache/index{index}/{name}", f"{value}\n")
        text = "\n".join(blocks)
        for path, content in self.files.items():
            if path == "proc/cpuinfo":
                text += f"\n{content}\n"
            else:
                write(root, path, content)
        write(root, "proc/cpuinfo", text)
        return root


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def device_tree(name: str) -> dict[str, str]:
    return {"sys/firmware/devicetree/base/model": f"{name}\0"}


def pi(name: str) -> dict[str, str]:
    return {"proc/cpuinfo": f"Revision\t: 000000\nModel\t\t: {name}"} | device_tree(name)


BOARDS = {
    "raspberry-pi-3": Board(
        "aarch64", ARM8, [(A53, 1400)] * 4, [{1: 32, 2: 512}], like="cortex-a53",
        name="Raspberry Pi 3 Model B Plus Rev 1.3", tuned="cortex-a53", classes=[(1400, 4)],
        files=pi("Raspberry Pi 3 Model B Plus Rev 1.3"),
    ),
    "raspberry-pi-4": Board(
        "aarch64", ARM8, [(A72, 1500)] * 4, [], like="cortex-a72",
        name="Raspberry Pi 4 Model B Rev 1.4", tuned="cortex-a72", classes=[(1500, 4)],
        files=pi("Raspberry Pi 4 Model B Rev 1.4"),
    ),
    "raspberry-pi-5": Board(
        "aarch64", ARM82, [(A76, 2400)] * 4, [{1: 64, 2: 512, 3: 2048}], like="cortex-a76",
        name="Raspberry Pi 5 Model B Rev 1.0", tuned="cortex-a76", classes=[(2400, 4)],
        files=pi("Raspberry Pi 5 Model B Rev 1.0"),
    ),
    "jetson-nano": Board(
        "aarch64", CRYPTO, [(A57, 1479)] * 4, [{1: 32, 2: 2048}], like="cortex-a72", model_name="ARMv8 Processor rev 1 (v8l)",
        name="NVIDIA Jetson Nano Developer Kit", tuned="cortex-a57", classes=[(1479, 4)],
        files=device_tree("NVIDIA Jetson Nano Developer Kit"),
    ),
    "jetson-orin-nano": Board(
        "aarch64", ARM82, [(A78AE, 1510)] * 6, [{1: 64, 2: 256, 3: 2048}], like="cortex-a76", model_name="ARMv8 Processor rev 1 (v8l)",
        name="NVIDIA Orin Nano Developer Kit", tuned="cortex-a78ae", classes=[(1510, 6)],
        files=device_tree("NVIDIA Orin Nano Developer Kit"),
    ),
    "rk3399": Board(
        "aarch64", f"{CRYPTO} cpuid", [(A53, 1416)] * 4 + [(A72, 1800)] * 2, [{1: 32, 2: 512}] * 4 + [{1: 32, 2: 1024}], like="cortex-a53",
        name="Pine64 RockPro64 v2.1", tuned="cortex-a53", classes=[(1800, 2), (1416, 4)],
        files=device_tree("Pine64 RockPro64 v2.1"),
    ),
    "odroid-n2": Board(  # its cores that issue in order have the higher frequency
        "aarch64", CRYPTO, [(A53, 1896)] * 2 + [(A73, 1800)] * 4, [{1: 32, 2: 256}] * 2 + [{1: 64, 2: 1024}], like="cortex-a53",
        name="Hardkernel ODROID-N2", tuned="cortex-a53", classes=[(1800, 4), (1896, 2)],
        files=device_tree("Hardkernel ODROID-N2"),
    ),
    "arm-without-names": Board(
        "aarch64", ARM82, [(A76, None)] * 2 + [("0xfff", None)], [], like="cortex-a76",
        name="cortex-a76 and 0x41-0xfff", tuned="cortex-a76", classes=[(None, 2), (None, 1)],
    ),
    "atom": Board(
        "x86_64", SSE4, [("6-76", 1920)] * 4, [{1: 24, 2: 1024}], like="x86-64-v2", model_name="Intel(R) Atom(TM) x5-Z8350  CPU @ 1.44GHz",
        name="Intel(R) Atom(TM) x5-Z8350  CPU @ 1.44GHz", tuned=None, classes=[(1920, 4)],
    ),
    "n100": Board(
        "x86_64", f"{AVX2} avx_vnni", [("6-190", 3400)] * 4, [{1: 32, 2: 2048, 3: 6144}], like="x86-64-v3", model_name="Intel(R) N100",
        name="Intel(R) N100", tuned=None, classes=[(3400, 4)], lanes=8,
    ),
    "container-with-a-quota": Board(
        "x86_64", AVX512, [("25-17", 3700)] * 8, [{1: 32, 2: 1024, 3: 32768}], like="x86-64-v4", model_name="AMD EPYC 9R14",
        name="AMD EPYC 9R14", tuned=None, classes=[(3700, 8)], lanes=16, usable=2,
        files={"sys/fs/cgroup/cpu.max": "150000 100000\n", "proc/self/cgroup": "0::/\n",
               "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"},
    ),
    "vm-that-hides-caches": Board(
        "x86_64", "fpu tsc cx8 cmov mmx fxsr sse sse2 pni cx16 hypervisor", [("15-107", None)] * 2, [], like="x86-64-v2",
        model_name="QEMU Virtual CPU version 2.5+", name="QEMU Virtual CPU version 2.5+", tuned=None, classes=[(None, 2)],
    ),
}  # fmt: skip
PROBLEMS = [
    Problem(DEPTHWISE, 1, 28, 28, 64, 64, (3, 3), padding=((1, 1), (1, 1))),
    Problem(POINTWISE, 1, 1, 784, 64, 128),
]


@pytest.fixture(params=BOARDS)
def board(request, monkeypatch) -> Board:
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(platform, "machine", lambda: BOARDS[request.param].architecture)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(len(BOARDS[request.param].cores))))
    return BOARDS[request.param]


def test_what_is_found(board, tmp_path):
    root = board.lay(tmp_path)
    found = detect(root)
    assert found.name == board.name
    assert found.features == set(board.features.split())
    assert (found.lanes, found.registers) == (board.lanes, 32 if board.lanes == 16 or board.architecture == "aarch64" else 16)
    assert found.is_fused == (board.architecture == "aarch64" or "fma" in board.features.split())
    assert found.core == board.tuned
    assert found.is_in_order == (board.tuned == "cortex-a53")
    assert [(one.megahertz, len(one.cores)) for one in core_classes(root)] == board.classes
    smallest = {level: 1024 * min(core[level] for core in board.caches) for level in (board.caches[0] if board.caches else ())}
    assert reported_caches(root) == smallest
    assert (found.l1_bytes, found.l2_bytes) == (smallest.get(1), smallest.get(2))
    assert limits.read_cores(root) == (board.usable or len(board.cores))


def test_boards_that_differ_do_not_share_profiles(monkeypatch, tmp_path):
    identities = []
    for name, board in BOARDS.items():
        monkeypatch.setattr(platform, "machine", lambda board=board: board.architecture)
        identities.append(str(detect(board.lay(tmp_path / name)).identity))
    assert len(set(identities)) == len(BOARDS)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.kind)
def test_no_instruction_is_emitted_that_the_cpu_lacks(board, problem, tmp_path):
    """The default plan there, compiled for a CPU without anything beyond what that one has."""
    found = detect(board.lay(tmp_path))
    plan = default_plan(problem, 1, found)
    assert plan.shape.lanes == board.lanes
    core = CORES[board.like]
    assert lacks_nothing(found, core.machine)
    text = "\n".join(compile_for(core, registry()[plan.kernel].task, plan.compiled_shape).code.instructions)
    for instructions, feature in (
        (r"zmm", "avx512vl"),
        (r"ymm", "avx2"),
        (r"vfn?m(add|sub)", "fma"),
        (r"\b[su]dot\b", "asimddp"),
        (r"\bfml[as]l", "asimdfhm"),
    ):
        assert feature in found.features or not re.search(instructions, text)


def lacks_nothing(found: Machine, needed: Machine) -> bool:
    return needed.features <= found.features
