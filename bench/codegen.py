"""What the compiler makes of the kernels for CPUs that are not here: instructions read, cycles simulated.

Run it:  python -m bench.codegen [--core cortex-a72] [--kernel pointwise] [--all] [--body] [--markdown]

For each kernel and core the default tiles of common layers, or with --all every tile that the kernel offers. Of each the innermost
loop that works inside the image: its multiply-adds, loads, vectors on the stack, and cycles by llvm-mca (see bench/mca.py)
as a share of what the core's multiply-add units, or its load units where they are busier, need at least.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from bench import mca
from bench.assembly import Code
from bench.cross import CORES, Core, compile_for
from fastdw.kernels.spec import MIN_LANES, KernelSpec, registry
from fastdw.planner import candidates
from fastdw.problem import CONV, DEPTHWISE, POINTWISE, POOL, Problem
from fastdw.tile import TileShape

SAME, AFTER = ((1, 1), (1, 1)), ((0, 1), (0, 1))
LAYERS = [  # of MobileNets, and some for the kernels that these do not need
    *(Problem(DEPTHWISE, 1, 112 // n, 112 // n, 32 * n, 32 * n, (3, 3), padding=SAME) for n in (1, 2, 4, 8, 16)),
    *(Problem(DEPTHWISE, 1, 112 // n, 112 // n, 64 * n, 64 * n, (3, 3), (2, 2), padding=AFTER) for n in (1, 2, 4, 8)),
    *(Problem(DEPTHWISE, 1, 28, 28, 120, 120, (5, 5), (s, s), padding=((2, 2), (2, 2))) for s in (1, 2)),
    *(Problem(POINTWISE, 1, 1, (112 // n) ** 2, 32 * n, 64 * n) for n in (1, 2, 4, 8, 16)),
    Problem(POINTWISE, 1, 1, 1, 1024, 1000),
    Problem(CONV, 1, 224, 224, 3, 32, (3, 3), (2, 2), padding=AFTER),
    Problem(CONV, 1, 28, 28, 64, 64, (3, 3), padding=SAME),
    Problem(DEPTHWISE, 1, 28, 28, 64, 128, (3, 3), padding=SAME),
    Problem(DEPTHWISE, 1, 28, 28, 64, 64, (9, 9), padding=((4, 4), (4, 4))),
    Problem(DEPTHWISE, 1, 112, 112, 3, 3, (3, 3), padding=SAME),
    Problem(POOL, 1, 7, 7, 1024, 1024, (7, 7)),
]


@dataclass(frozen=True)
class Report:
    """One kernel and tile on one core: the loop that was judged, and how often it multiplies and adds vectors."""

    core: Core
    spec: KernelSpec
    tile: TileShape
    loop: Code
    spills_outside: int

    @property
    def operations(self) -> int:
        """Multiply-adds, or additions in a kernel without any."""
        return self.loop.multiply_adds(self.tile.lanes) or self.loop.adds(self.tile.lanes)

    @property
    def fused_cycles(self) -> float:
        return self.operations / self.core.fused_a_cycle

    @property
    def load_cycles(self) -> float:
        return self.loop.loads / self.core.loads_a_cycle

    @property
    def cycles(self) -> float:
        """By simulation, and never less than the units need.

        Raises:
          mca.Missing: there is no llvm-mca.
        """
        return max(mca.cycles(self.core, self.loop.instructions), self.fused_cycles)

    @property
    def of_fused_limit(self) -> float:
        return self.fused_cycles / self.cycles

    @property
    def of_limit(self) -> float:
        """Of what the multiply-add units or the load units allow."""
        return min(1.0, max(self.fused_cycles, self.load_cycles) / self.cycles)


def default_tiles(core: Core) -> list[tuple[KernelSpec, TileShape]]:
    """Of the layers above, each once, by kernel."""
    firsts = [(candidates(layer, core.machine)[0][0], layer) for layer in LAYERS]
    return sorted(dict.fromkeys((spec, spec.choose(layer, core.machine, 1)[0]) for spec, layer in firsts), key=lambda pair: pair[0].name)


def every_tile(core: Core) -> list[tuple[KernelSpec, TileShape]]:
    """That some kernel offers for one of the layers, of whole vectors."""
    tiles = [(spec, tile) for layer in LAYERS for spec in candidates(layer, core.machine)[0] for tile in spec.shapes(layer, core.machine)]
    offered = [(spec, tile) for spec, tile in tiles if not spec.is_reference and tile.lanes >= MIN_LANES]
    return sorted(dict.fromkeys(offered), key=lambda pair: pair[0].name)


def judge(core: Core, spec: KernelSpec, tile: TileShape) -> Report:
    function = compile_for(core, spec.task, tile)

    def work(loop: Code) -> int:
        return loop.multiply_adds(tile.lanes) or loop.adds(tile.lanes)

    loops = [loop for loop in function.innermost_loops() if work(loop)]
    best = min(loops, key=lambda loop: len(loop.instructions) / work(loop))
    return Report(core, spec, tile, best, len(function.code.spills) - sum(len(loop.spills) for loop in loops))


def reports(cores: list[str], kernels: list[str], everything: bool) -> Iterator[Report]:
    for core in map(CORES.__getitem__, cores):
        for spec, tile in every_tile(core) if everything else default_tiles(core):
            if spec.name in kernels:
                yield judge(core, spec, tile)


COLUMNS = ("core", "kernel", "tile", "FMAs", "loads", "spills", "cycles", "of FMA limit", "of FMA or load limit")


def row(report: Report) -> tuple[str, ...]:
    counts = (report.operations, report.loop.loads, f"{len(report.loop.spills)}+{report.spills_outside}")
    try:
        simulated = (f"{report.cycles:.1f}", f"{report.of_fused_limit:.0%}", f"{report.of_limit:.0%}")
    except mca.Missing:
        simulated = ("-", "-", "-")
    return tuple(map(str, (report.core.cpu, report.spec.name, report.tile, *counts, *simulated)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Read and simulate the machine code of the kernels for several cores.")
    parser.add_argument("--core", action="append", choices=CORES, help="only this one; may be given again")
    parser.add_argument("--kernel", action="append", choices=registry(), help="only this one; may be given again")
    parser.add_argument("--all", action="store_true", help="every tile that is offered, not the defaults alone")
    parser.add_argument("--body", action="store_true", help="print the loop that was judged too")
    parser.add_argument("--markdown", action="store_true", help="print a table for the docs")
    given = parser.parse_args()
    try:
        mca.program()
    except mca.Missing as missing:
        print(f"cycles are left out: {missing}")
    edge, between = ("| ", " | ") if given.markdown else ("", "  ")
    widths = (11, 14, 22, 4, 5, 6, 6, 12, 20)

    def line(cells: tuple[str, ...]) -> str:
        return edge + between.join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)) + edge[::-1]

    print(line(COLUMNS))
    if given.markdown:
        print("|---" * len(COLUMNS) + "|")
    for report in reports(given.core or list(CORES), given.kernel or list(registry()), given.all):
        print(line(row(report)), flush=True)
        if given.body:
            print("".join(f"    {instruction}\n" for instruction in report.loop.instructions))


if __name__ == "__main__":
    main()
