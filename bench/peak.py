"""What the FMA units of this machine can do: independent chains of fused multiply-adds on vectors that never leave the registers.

Run it:  python -m bench.peak [--threads N]

Vectors that the CPU does not have are split by LLVM, and chains that do not fit the registers are spilled, so trying every width and
number of chains and keeping the best needs no knowledge of the CPU.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = (4, 8, 16)
CHAINS = (12, 24)
CALL_SECONDS = 0.2e-3
THREADED_CALL_SECONDS = 5e-3  # long against the tens of microseconds that threads take to start


@intrinsic(prefer_literal=True)
def _fma_chains(typing, rounds, lanes, chains):
    """`rounds` times: chain = chain * 0.5 + 1, for each chain. Returns one lane of their sum, so that none is dropped.

    No chain starts at 2, where LLVM would see that it stays.
    """
    n_lanes, n_chains = lanes.literal_value, chains.literal_value

    def codegen(context, builder, signature, args):
        vector = ir.VectorType(ir.FloatType(), n_lanes)
        muladd_type = ir.FunctionType(vector, [vector] * 3)
        muladd = cgutils.get_or_insert_function(builder.module, muladd_type, f"llvm.fmuladd.v{n_lanes}f32")
        half, one = (ir.Constant(vector, [value] * n_lanes) for value in (0.5, 1.0))
        slots = [cgutils.alloca_once_value(builder, ir.Constant(vector, [3.0 + k] * n_lanes)) for k in range(n_chains)]
        with cgutils.for_range(builder, args[0]):
            for slot in slots:
                builder.store(builder.call(muladd, [builder.load(slot), half, one]), slot)
        total = builder.load(slots[0])
        for slot in slots[1:]:
            total = builder.fadd(total, builder.load(slot))
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return types.float32(types.intp, lanes, chains), codegen


@dataclass(frozen=True)
class Loop:
    """The quickest loop of this CPU."""

    lanes: int
    chains: int
    flops_per_round: int
    run: Callable[[int], float]  # of rounds

    def flops_per_second(self, rounds: int) -> float:
        start = time.perf_counter()
        self.run(rounds)
        return rounds * self.flops_per_round / (time.perf_counter() - start)


def quickest_loop() -> Loop:
    loops = [_loop(lanes, chains) for lanes, chains in itertools.product(LANES, CHAINS)]
    return max(loops, key=lambda loop: max(loop.flops_per_second(10_000) for _ in range(10)))


def _loop(lanes: int, chains: int) -> Loop:
    @njit(nogil=True)
    def run(rounds):
        return _fma_chains(rounds, lanes, chains)

    run(1)
    return Loop(lanes, chains, 2 * lanes * chains, run)


class Peak:
    """A contestant like any other: `call` runs the loop on every thread, `flops` in all."""

    def __init__(self, threads: int = 1):
        loop = quickest_loop()
        self.loop, self.threads = loop, threads
        seconds = CALL_SECONDS if threads == 1 else THREADED_CALL_SECONDS
        self.rounds = max(int(seconds * loop.flops_per_second(100_000) / loop.flops_per_round), 1)
        self.flops = threads * self.rounds * loop.flops_per_round
        self._pool = ThreadPoolExecutor(threads)

    def call(self) -> None:
        if self.threads == 1:
            self.loop.run(self.rounds)
        else:
            list(self._pool.map(self.loop.run, [self.rounds] * self.threads))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the FMA peak.")
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    peak = Peak(threads)

    def rate() -> float:
        start = time.perf_counter()
        peak.call()
        return peak.flops / (time.perf_counter() - start)

    best = max(rate() for _ in range(200))
    print(f"{best / 1e9:.1f} GFLOP/s, {threads} thread(s), {peak.loop.lanes} lanes, {peak.loop.chains} chains")


if __name__ == "__main__":
    main()
