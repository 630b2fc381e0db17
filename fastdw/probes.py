"""What this machine can do, measured: multiply-adds a second, bytes a second by the size of what is read, and the time of a read
that depends on the one before it. Kernels like any other: tasks on a context."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from fastdw.jit import Task
from fastdw.machine import Machine, host
from fastdw.packing import BLANK, aligned_empty
from fastdw.tile import Context, TileShape, load_row, outer_fma, store, view, zeros
from fastdw.tile.shapes import ARRAYS, CONTEXT_FIELDS

CONTEXT = Context("rounds", "bytes")
LEAST_SECONDS = 2e-3
SPREAD_SECONDS = 0.5e-3
REPEAT = 10
CHASES, CHASE_ROUNDS = 8, 10_000
LINE_BYTES = 64


@Task
def multiply_add(shape, context, index):
    """`rounds` steps of a tile whose accumulators, row and factor never leave the registers."""
    c = view(CONTEXT, context)
    row = load_row(shape, c.weight, shape.last_vec)
    acc = outer_fma(zeros(shape), c.x, 4, row)  # starts every chain with another value, so that none is computed for two
    for _ in range(c.rounds):
        acc = outer_fma(acc, c.x, 0, row)
    store(acc, c.out + index * shape.pixels * shape.width * 4, 0, 4 * shape.width, shape.last_vec)


@Task
def read(shape, context, index):
    """Adds up all vectors of x, `rounds` times."""
    c = view(CONTEXT, context)
    acc = zeros(shape)
    for _ in range(c.rounds):
        for start in range(0, c.bytes, 4 * shape.width):
            acc = outer_fma(acc, c.weight, 0, load_row(shape, c.x + start, shape.last_vec))
    store(acc, c.out, 0, 0, shape.last_vec)


@Task
def chase(shape, context, index):
    """Follows `rounds` addresses, each read where the one before it points."""
    c = view(CONTEXT, context)
    place = c.x
    for _ in range(c.rounds):
        place = view(CONTEXT, place).x
    if place == 0:
        store(zeros(shape), c.out, 0, 0, 0)


def peak_flops(threads: int = 1, machine: Machine | None = None) -> float:
    """Floating-point operations a second of the multiply-add units of as many cores."""
    machine = machine or host()
    shape = TileShape(1, 6, 2, machine.lanes)
    factors, row = aligned_empty(8), aligned_empty(2 * machine.lanes)
    factors[:], row[:] = np.linspace(0.5, 1, 8), 1e-9
    out = aligned_empty((threads, shape.pixels * shape.width))
    alone, together = (_launcher(multiply_add, shape, factors, row, out, count) for count in (1, threads))
    return _best(together, 2.0 * threads * shape.pixels * shape.width, _enough(alone))


def spread(threads: int, machine: Machine | None = None) -> float:
    """Time of a piece of work on one thread relative to that of as much on each of several: about 1 where each has a core of its own."""
    machine = machine or host()
    shape = TileShape(1, 6, 2, machine.lanes)
    ones = np.ones(2 * machine.lanes, np.float32)
    runs = [_launcher(multiply_add, shape, ones, ones, aligned_empty((count, shape.pixels * shape.width)), count) for count in (1, threads)]
    rounds = max(1, int(SPREAD_SECONDS / max(_seconds(runs[0], 1000) / 1000, 1e-9)))
    one, several = (min(_seconds(run, rounds) for _ in range(REPEAT)) for run in runs)
    return one / several


def read_bytes(sizes: list[int], machine: Machine | None = None) -> list[float]:
    """Bytes a second that one core reads, again and again, of a block of each size."""
    machine = machine or host()
    shape = TileShape(1, 1, 8, machine.lanes)
    step = 4 * shape.width
    block = aligned_empty(max(sizes) // 4)
    block.fill(1e-9)
    one = np.ones(16, np.float32)
    found = []
    for size in sizes:
        size = max(step, size // step * step)
        run = _launcher(read, shape, block, one, aligned_empty(shape.width), 1, size)
        found.append(_best(run, size, _enough(run)))
    return found


def read_seconds(sizes: list[int]) -> list[float]:
    """Seconds of a read that waits for the one before it, anywhere in a block of each size; no less than in a smaller block."""
    block = aligned_empty(max(sizes) // 4).view(np.int64)
    rng = np.random.default_rng(0)
    found = []
    for size in sizes:
        order = rng.permutation(max(2, size // LINE_BYTES)) * (LINE_BYTES // 8)
        block[order] = block.ctypes.data + 8 * np.roll(order, -1)
        runs = [
            _launcher(chase, TileShape(1, 1, 1, 4), block[start:].view(np.float32), BLANK, aligned_empty(4))
            for start in order[:: -(-len(order) // CHASES)]
        ]
        runs[0](1)
        found.append(statistics.median(_seconds(run, CHASE_ROUNDS) for run in runs) / CHASE_ROUNDS)
    return [min(found[index:]) for index in range(len(found))]


def _launcher(
    task: Task, shape: TileShape, x: np.ndarray, weight: np.ndarray, out: np.ndarray, threads: int = 1, n_bytes: int = 0
) -> Callable[[int], None]:
    """A function of `rounds` that runs a task once a thread."""
    from fastdw import launch

    template = np.zeros(CONTEXT_FIELDS + 2 * len(ARRAYS), np.int64)
    template[:CONTEXT_FIELDS] = CONTEXT.pack({"rounds": 0, "bytes": n_bytes})
    rounds = CONTEXT.fields.index("rounds")
    function = task.pointer(shape)
    start = launch.serial() if threads == 1 else launch.parallel

    def run(count: int) -> None:
        template[rounds] = count
        start(x, weight, BLANK, BLANK, out, template.ctypes.data, 0, function, threads, threads)

    return run


def _seconds(run: Callable[[int], None], rounds: int) -> float:
    start = time.perf_counter()
    run(rounds)
    return time.perf_counter() - start


def _enough(run: Callable[[int], None]) -> int:
    """Rounds that take LEAST_SECONDS."""
    run(1)
    rounds = 1
    while (seconds := _seconds(run, rounds)) < LEAST_SECONDS:
        rounds = max(2 * rounds, int(rounds * 1.2 * LEAST_SECONDS / max(seconds, 1e-6)))
    return rounds


def _best(run: Callable[[int], None], work: float, rounds: int) -> float:
    """Work a second, in the best of a few runs: `work` is done a round."""
    run(1)
    return work * rounds / min(_seconds(run, rounds) for _ in range(REPEAT))


# ---- caches ----
@dataclass(frozen=True)
class Level:
    """A level of the memory: blocks up to n_bytes (none for the last) are read in so many seconds, or at so many bytes a second."""

    n_bytes: int | None
    seconds: float
    bytes_per_second: float


SIZES = [half << shift for shift in range(11, 26) for half in (2, 3)]  # 4 KB to 96 MB
JUMP = 2.0  # times slower than at the beginning of a level: no longer in it
RAMP = 2  # times the size of a level, up to which reads belong neither to it nor to the next


def levels(sizes: list[int] | None = None) -> list[Level]:
    """The caches and the memory beyond, as reads show them."""
    sizes = sizes or SIZES
    found = list(_levels(sizes, read_seconds(sizes)))
    speeds = read_bytes([sizes[(first + last) // 2] for first, last, _ in found])
    return [
        Level(sizes[last] if last < len(sizes) - 1 else None, seconds, speed)
        for (_, last, seconds), speed in zip(found, speeds, strict=True)
    ]


def _levels(sizes: list[int], seconds: list[float]) -> Iterator[tuple[int, int, float]]:
    """(first size, last size, seconds of a read) of each level: it ends where reads take JUMP times those at its beginning."""
    first = 0
    while first < len(sizes):
        last = max(index for index in range(first, len(sizes)) if seconds[index] <= JUMP * seconds[first])
        yield first, last, seconds[first]
        first = next((index for index in range(last + 1, len(sizes)) if sizes[index] >= RAMP * sizes[last]), len(sizes))
