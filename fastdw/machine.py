"""The CPU that fastdw runs on: its name, vector width, registers, caches and cores, without Numba."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastdw import knobs

# Features that decide the vector width. A CPU named by NUMBA_CPU_NAME has those of its line; others are taken as the host has them.
_NAMED = {
    "generic": (),
    "x86-64": ("sse2",),
    "x86-64-v2": ("sse2",),
    "nehalem": ("sse2",),
    "x86-64-v3": ("sse2", "avx2", "fma"),
    "haswell": ("sse2", "avx2", "fma"),
    "skylake": ("sse2", "avx2", "fma"),
    "x86-64-v4": ("sse2", "avx2", "fma", "avx512f", "avx512vl"),
    "skylake-avx512": ("sse2", "avx2", "fma", "avx512f", "avx512vl"),
    "znver4": ("sse2", "avx2", "fma", "avx512f", "avx512vl"),
    "znver5": ("sse2", "avx2", "fma", "avx512f", "avx512vl"),
}

# Arm's cores as LLVM calls them, by what core_models reads: implementer and part. Vendors' own names for them count too.
_ARM_CORES = {
    **{f"0x41-{part}": core for part, core in (
        ("0xd04", "cortex-a35"), ("0xd03", "cortex-a53"), ("0xd05", "cortex-a55"), ("0xd46", "cortex-a510"), ("0xd80", "cortex-a520"),
        ("0xd07", "cortex-a57"), ("0xd08", "cortex-a72"), ("0xd09", "cortex-a73"), ("0xd0a", "cortex-a75"), ("0xd0b", "cortex-a76"),
        ("0xd0d", "cortex-a77"), ("0xd41", "cortex-a78"), ("0xd42", "cortex-a78ae"), ("0xd4b", "cortex-a78c"), ("0xd47", "cortex-a710"),
        ("0xd4d", "cortex-a715"), ("0xd81", "cortex-a720"), ("0xd44", "cortex-x1"), ("0xd48", "cortex-x2"), ("0xd4e", "cortex-x3"),
        ("0xd0c", "neoverse-n1"), ("0xd40", "neoverse-v1"), ("0xd49", "neoverse-n2"), ("0xd4f", "neoverse-v2"),
    )},
    **{f"0x51-{part}": core for part, core in (
        ("0x800", "cortex-a73"), ("0x801", "cortex-a53"), ("0x802", "cortex-a75"), ("0x803", "cortex-a55"), ("0x804", "cortex-a76"),
        ("0x805", "cortex-a55"),
    )},
}  # fmt: skip
_IN_ORDER = frozenset({"cortex-a35", "cortex-a53", "cortex-a55", "cortex-a510", "cortex-a520"})


@dataclass(frozen=True)
class Machine:
    """What plans are made from. A cache size is None where the system does not tell."""

    name: str
    architecture: str
    features: frozenset[str]
    cores: int
    l1_bytes: int | None
    l2_bytes: int | None
    models: tuple[str, ...] = ()  # of its cores, each once: a machine may have several

    @property
    def lanes(self) -> int:
        """float32 elements of the widest vector."""
        if {"avx2", "avx512f", "avx512vl"} <= self.features:
            return 16
        return 8 if "avx2" in self.features else 4

    @property
    def is_halved(self) -> bool:
        """Vectors of 16 pass through the units in two halves, so that 8 lanes compute as much: Zen 4."""
        return self.lanes == 16 and (self.name == "znver4" or any(model.startswith("25-") for model in self.models))

    @property
    def registers(self) -> int:
        """Vector registers."""
        return 32 if self.lanes == 16 or self.architecture == "aarch64" else 16

    @property
    def vector_features(self) -> list[str]:
        """Those of its features that are about vectors."""
        return sorted(
            feature
            for feature in self.features
            if re.match(r"(sse|ssse|avx|fma|f16c|amx|asimd|fp$|fphp|sve|sme(?!p)|neon|bf16|i8mm)", feature)
        )

    @property
    def identity(self) -> dict[str, object]:
        """What a measured plan depends on: machines that agree in this share their plans. The cores in use are not part of it."""
        shape = {"lanes": self.lanes, "registers": self.registers, "fused": self.is_fused}
        return {"cpu": self.name, "architecture": self.architecture, "models": list(self.models), **shape}

    @property
    def is_fused(self) -> bool:
        """Multiplies and adds with one rounding, in one instruction."""
        return self.architecture != "x86_64" or "fma" in self.features

    @property
    def is_memory_operand(self) -> bool:
        """A multiply-add may take one factor from memory, without a register."""
        return self.architecture == "x86_64" and self.is_fused

    @property
    def l2_size(self) -> int:
        """Bytes of the second-level cache; where the system does not tell, what small cores have."""
        return self.l2_bytes or 512 << 10

    @property
    def has_threes(self) -> bool:
        """LLVM compiles vectors of three elements. For aarch64 it ends the process on some: an assertion in getCopyFromPartsVector."""
        return self.architecture != "aarch64"

    @property
    def is_lane_operand(self) -> bool:
        """A multiply-add may take one factor from one lane of a register."""
        return self.architecture == "aarch64"

    @property
    def core(self) -> str | None:
        """The core to tune for, as LLVM calls it; None: as the compiler sees fit.

        Of several the one that issues in order: it stalls on code for the others, and they run its code well.
        """
        known = [_ARM_CORES[model] for model in self.models if model in _ARM_CORES]
        return min(known, key=lambda core: core not in _IN_ORDER, default=None)

    @property
    def is_in_order(self) -> bool:
        """Some of its cores wait for a load before they go on to the next instruction."""
        return self.core in _IN_ORDER


def _first(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text, re.MULTILINE)
    return found.group(1).strip() if found else None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _host_features(cpuinfo: str, architecture: str) -> frozenset[str]:
    """From the kernel's list; where there is none, what every CPU of the architecture has."""
    listed = _first(r"^(?:flags|Features)\s*:(.*)$", cpuinfo)
    if listed is not None:
        return frozenset(listed.split())
    return frozenset({"sse2"} if architecture == "x86_64" else {"asimd"} if architecture == "aarch64" else ())


def _features(cpuinfo: str, architecture: str) -> frozenset[str]:
    """Those of the host, changed as Numba changes what it compiles for: NUMBA_CPU_FEATURES, where set, adds to and takes from
    those of the CPU that NUMBA_CPU_NAME names; the name alone leaves the host's features."""
    named, changes = knobs.cpu_name(), knobs.cpu_features()
    features = set(_host_features(cpuinfo, architecture))
    if changes is not None and named in _NAMED and architecture == "x86_64":
        features = set(_NAMED[named])
    for change in (changes or "").split(","):
        if change.startswith("+"):
            features.add(change[1:])
        elif change.startswith("-"):
            features.discard(change[1:])
    return frozenset(features)


def core_models(cpuinfo: str) -> dict[int, str]:
    """The model of each core that the system lists, by its number: family and model, or implementer and part."""
    found = {}
    for block in cpuinfo.split("\n\n"):
        number = _first(r"^processor\s*:\s*(\d+)", block)
        facts = [_first(rf"^{name}\s*:(.*)$", block) for name in ("cpu family", "model", "CPU implementer", "CPU part")]
        if number is not None:
            found[int(number)] = "-".join(fact for fact in facts if fact)
    return found


@dataclass(frozen=True)
class CoreClass:
    """Cores that are alike: model and highest frequency, where the system tells."""

    model: str
    megahertz: int | None
    cores: tuple[int, ...]


def core_classes(root: Path = Path("/")) -> list[CoreClass]:
    """The cores of the machine by class, usable or not; the quickest class first, those that issue in order last."""
    found: dict[tuple[str, int | None], list[int]] = {}
    for core, model in core_models(_read(root / "proc/cpuinfo")).items():
        kilohertz = _read(root / f"sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq").strip()
        found.setdefault((model, int(kilohertz) // 1000 if kilohertz.isdigit() else None), []).append(core)
    classes = [CoreClass(model, megahertz, tuple(cores)) for (model, megahertz), cores in found.items()]
    return sorted(classes, key=lambda one: (_ARM_CORES.get(one.model) in _IN_ORDER, -(one.megahertz or 0)))


def reported_caches(root: Path = Path("/")) -> dict[int, int]:
    """Bytes of each level of cache that the system tells of."""
    sizes = {level: _cache_bytes(level, root / "sys/devices/system/cpu") for level in range(1, 5)}
    return {level: size for level, size in sizes.items() if size}


def _cache_bytes(level: int, root: Path) -> int | None:
    """Of the smallest data or unified cache of a level over the cores."""
    sizes = []
    for index in root.glob("cpu[0-9]*/cache/index*"):
        if _read(index / "level").strip() == str(level) and _read(index / "type").strip() in ("Data", "Unified"):
            size = re.fullmatch(r"(\d+)([KM]?)", _read(index / "size").strip())
            if size:
                sizes.append(int(size[1]) << {"": 0, "K": 10, "M": 20}[size[2]])
    return min(sizes, default=None)


def _name(cpuinfo: str, root: Path, models: tuple[str, ...]) -> str:
    """Of the board where the system tells, else of the CPU; on Arm's, whose cores have numbers alone, those of its cores."""
    board = _first(r"^Model\s*:(.*)$", cpuinfo) or _read(root / "sys/firmware/devicetree/base/model").strip("\0 \n")
    name = _first(r"^model name\s*:(.*)$", cpuinfo) or ""
    cores = " and ".join(_ARM_CORES.get(model, model) for model in models)
    return board or (cores if not name or name.startswith("ARMv") else name)


def detect(root: Path = Path("/")) -> Machine:
    """The machine whose /proc and /sys lie under root."""
    architecture = {"arm64": "aarch64"}.get(platform.machine(), platform.machine())
    cpuinfo = _read(root / "proc/cpuinfo")
    models = tuple(sorted({model for model in core_models(cpuinfo).values() if model}))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    caches = root / "sys/devices/system/cpu"
    name = knobs.cpu_name() or _name(cpuinfo, root, models) or platform.processor() or architecture
    return Machine(name, architecture, _features(cpuinfo, architecture), cores, _cache_bytes(1, caches), _cache_bytes(2, caches), models)


@cache
def host() -> Machine:
    """This machine."""
    return detect()


def tuned_core() -> str | None:
    """The core that kernels are tuned for: LLVM's own choice is the last core of a machine that has several. None: leave it to LLVM."""
    return host().core if knobs.cpu_name() is None else None
