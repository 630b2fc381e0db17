"""What machine code must be like."""

from __future__ import annotations

from bench.assembly import Function
from fastdw.kernels.spec import KernelSpec
from fastdw.tile import TileShape
from fastdw.tile.activations import CLAMP

SPILLED = 0.05  # vectors on the stack outside the loops, for each multiply-add of a turn
SET_ASIDE = 32  # the same with a function, for each vector of outputs: LLVM computes it for all of them at once, so sums make room


def check_code(function: Function, spec: KernelSpec, tile: TileShape, spilled: float = SPILLED) -> None:
    """In the innermost loops full vectors of multiply-adds, no call and nothing on the stack; few spills elsewhere.

    LLVM may unroll a loop, so the multiply-adds are those of one turn or a multiple; it may split off a loop for the rest of a
    filter row. A kernel without any is held to its additions instead.
    """
    wanted = spec.fused_multiply_adds(tile)
    turns = wanted or (tile.pixels * tile.vecs,)

    def work(loop):
        return loop.multiply_adds(tile.lanes) if wanted else loop.adds(tile.lanes)

    hot = [loop for loop in function.innermost_loops() if work(loop)]
    counts = [work(loop) for loop in hot]
    assert counts, "no innermost loop with full vectors"
    whole = all(any(count % turn == 0 for turn in turns) for count in counts) and any(count % max(turns) == 0 for count in counts)
    assert whole, f"{counts} vector operations in the innermost loops, where a turn has {turns}"
    assert not function.code.calls
    spills = [f"{len(loop.spills)} in a loop of {work(loop)} operations: {'; '.join(loop.spills)}" for loop in hot if loop.spills]
    assert not spills, "\n".join(["vectors on the stack", *spills])
    outside = function.code.spills
    most = spilled * max(turns) if tile.activation == CLAMP else SET_ASIDE * tile.pixels * tile.vecs
    assert len(outside) <= most, f"{len(outside)} vectors on the stack outside the loops: {'; '.join(outside)}"
