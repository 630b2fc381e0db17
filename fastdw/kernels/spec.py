"""What a kernel file declares about itself: whom it serves, its tiles and blockings, and how its context is filled.

Tests, benches, the planner and the tuner iterate the registry below; adding a kernel is adding a file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from fastdw.jit import Task
from fastdw.machine import Machine
from fastdw.problem import Problem
from fastdw.tile import Context, TileShape

REFERENCE = "reference"  # how the names of kernels with one lane begin
MIN_LANES = 4  # of the narrowest vector, but where there are fewer channels


@dataclass(frozen=True)
class Blocking:
    """How much one task does: output rows (pixels where rows are one run), and output channels."""

    rows: int
    channels: int


@dataclass(frozen=True)
class Layout:
    """Where the elements of a call's arrays lie: strides in bytes of (image, row, column); rows of the weight likewise.

    residual is None where there is none. panel is the width of pointwise panels, 0 for raw weights.
    """

    x: tuple[int, ...]
    out: tuple[int, ...]
    weight: tuple[int, ...] = ()
    panel: int = 0
    bias: bool = False
    residual: tuple[int, ...] | None = None


NOWHERE = Layout((0, 0, 0), (0, 0, 0), (0, 0))  # to learn how a plan cuts its problem


@dataclass(frozen=True)
class Plan:
    """How a problem is computed."""

    problem: Problem
    kernel: str
    shape: TileShape
    blocking: Blocking
    threads: int = 1
    reason: str = ""
    scratch_bytes: int = 0

    @property
    def compiled_shape(self) -> TileShape:
        """The shape with the problem's activation: what machine code is made for."""
        return replace(self.shape, activation=self.problem.activation.name)

    @property
    def id(self) -> str:
        return f"f32_{self.kernel}_{self.compiled_shape}"

    @property
    def is_reference(self) -> bool:
        return self.kernel.startswith(REFERENCE)

    def __repr__(self) -> str:
        p = self.problem
        each = f"{self.blocking.rows} rows x {self.blocking.channels} channels a task"
        lines = [
            f"Plan for {p.key}",
            f"  kernel    {self.id} ({self.reason})",
            f"  blocking  {each}, {self.threads} thread{'s' * (self.threads > 1)}",
            f"  work      {2 * p.multiply_adds:,} flops, {p.bytes_moved:,} bytes at least, {self.scratch_bytes:,} bytes of scratch",
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class Cut:
    """How a block is computed strip by strip: ranges of output rows, a task each, and rows of a strip."""

    chunks: int
    strip_rows: int


@dataclass(frozen=True)
class BlockPlan:
    """How several convolutions in a row are computed: strip by strip, or, without a cut, one image after the other.

    scratch_bytes: of what lies between them.
    """

    plans: tuple[Plan, ...]
    cut: Cut | None
    threads: int
    reason: str
    scratch_bytes: int

    @property
    def id(self) -> str:
        stages = " + ".join(plan.kernel for plan in self.plans)
        return f"{stages}, strips of {self.cut.strip_rows} rows" if self.cut else stages

    def __repr__(self) -> str:
        how = f"strips of {self.cut.strip_rows} rows, {self.cut.chunks} tasks an image" if self.cut else "one after the other"
        return "\n".join([*map(repr, self.plans), f"{how} ({self.reason}), between them {self.scratch_bytes:,} bytes of scratch"])


@dataclass(frozen=True)
class KernelSpec:
    """One kernel.

    refuses: why a problem is not served, or None.
    shapes: every tile that may compute a problem; blockings: every blocking for a tile; the tuning space is their product.
    choose: the default tile and blocking for a problem, a machine and a number of threads.
    bind: the context's fields and the number of tasks.
    fused_multiply_adds: vector FMAs of one turn of the innermost loop, of each where there are several; none where it only adds.
    rank: kernels are asked in this order, the least first, then by name.
    looks_ahead: for a plan and its tasks, the field of the context where the task is told what to bring into the cache for later
      steps of a program, and how many times a task brings a cache line, about. Zeros where it does not.
    cost: what a tile may cost for a problem, in a unit of the kernel's own; the tuner tries the cheapest tiles first.
    """

    name: str
    kind: str
    task: Task
    context: Context
    refuses: Callable[[Problem, Machine], str | None]
    shapes: Callable[[Problem, Machine], Iterator[TileShape]]
    blockings: Callable[[Problem, TileShape], Iterator[Blocking]]
    choose: Callable[[Problem, Machine, int], tuple[TileShape, Blocking]]
    bind: Callable[[Plan, Layout], tuple[dict[str, int], int]]
    fused_multiply_adds: Callable[[TileShape], tuple[int, ...]]
    rank: int = 0
    cost: Callable[[Problem, TileShape], float] | None = None
    looks_ahead: Callable[[Plan, int], tuple[int, int]] = lambda plan, tasks: (0, 0)

    @property
    def is_reference(self) -> bool:
        return self.name.startswith(REFERENCE)


@cache
def registry() -> dict[str, KernelSpec]:
    """Every SPEC or SPECS in this package, by name, in the order in which they are asked."""
    import fastdw.kernels as package

    specs: list[KernelSpec] = []
    for module in pkgutil.iter_modules(package.__path__):
        contents = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
        specs += contents.get("SPECS", [contents["SPEC"]] if "SPEC" in contents else [])
    return {spec.name: spec for spec in sorted(specs, key=lambda spec: (spec.rank, spec.name))}


def float_bits(value: float) -> int:
    return int(np.float32(value).view(np.int32))


def lanes_for(channels: int, machine: Machine) -> int:
    """The widest vector that the channels fill: the machine's, or a half or a quarter of it; of fewer than 4 all, or two of three."""
    lanes = machine.lanes
    while lanes > max(MIN_LANES, channels):
        lanes //= 2
    return 2 if channels == 3 and not machine.has_threes else min(lanes, channels)
