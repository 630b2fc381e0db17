"""Steps one after the other in one compiled call: a fused block, a network.

A step is a task, its context and how often to run it. One thread runs them in a plain loop. Several share each step's tasks
and go on when all of these are done: nobody waits for a thread that has not come, so one late thread, or none, only costs time.
Each thread begins with the same share of every step, whose data it is likely to have in its cache, and then helps the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numba import prange, types

from fastdw import jit
from fastdw.arrays import ArrayAddress, address_of
from fastdw.call import SELF, Step
from fastdw.packing import ALIGNMENT_BYTES
from fastdw.thread_pool import narrow, on_threads, started_layer, widen
from fastdw.tile import arrive, arrived, call, give_way, pause, peek, poke, take

PATIENCE = 5000  # pauses before a thread that waits gives way to others
ARGUMENTS = ("x", "residual", "out")  # given at each run

# The fields of a program: two counts with the addresses of their tables, then first and last byte of each argument's span.
STEPS, STEP_TABLE, PATCHES, PATCH_TABLE, COUNTERS, SPANS = (8 * field for field in range(6))
# of a step: a line of its own
FUNCTION, CONTEXT, TASKS, WORKER, LINE = 0, 8, 16, 24, 64
# of a patch: the address of a field that takes an argument's address, the number of the argument, bytes to add
FIELD, ARGUMENT, OFFSET, PATCH_BYTES = 0, 8, 16, 24


class Program:
    """Steps with their addresses. Not to be run by two threads at once: it writes the arguments' addresses into its own memory.

    Args:
      steps: each with its arrays by name; a name may also stand for one of ARGUMENTS.
      workers: at most so many threads.
      spans: first and last byte of x, residual and out past their addresses, for the check of overlaps.
    """

    def __init__(
        self,
        steps: Sequence[tuple[Step, dict[str, np.ndarray | str]]],
        workers: int = 1,
        spans: Sequence[tuple[int, int]] = ((0, 0),) * len(ARGUMENTS),
    ):
        sizes = [-(-step.memory.size // 8) * 8 for step, _ in steps]
        self._memory, self._table = lines(sum(sizes)), lines(8 * len(steps))
        self._kept = [array for _, arrays in steps for array in arrays.values()]
        patches, begin = [], self._memory.ctypes.data
        for number, ((step, arrays), size) in enumerate(zip(steps, sizes, strict=True)):
            memory = self._memory[(begin - self._memory.ctypes.data) // 8 :]
            memory[: step.memory.size] = step.memory
            self._table[8 * number : 8 * number + 4] = step.function, begin, step.tasks, step.worker
            for index, name, offset in step.places:
                array = begin if name == SELF else arrays[name]
                if isinstance(array, str):
                    patches.append((begin + 8 * index, ARGUMENTS.index(array), offset))
                else:
                    memory[index] = (array if isinstance(array, int) else array.ctypes.data) + offset
            begin += 8 * size
        self._patches = np.array(patches, np.int64).reshape(-1, 3)
        self._counters = lines(8 * len(steps) * (workers + 1))
        tables = [(len(steps), self._table), (len(patches), self._patches)]
        facts = [fact for count, table in tables for fact in (count, table.ctypes.data)] + [self._counters.ctypes.data]
        self._program = np.array(facts + [side for span in spans for side in span], np.int64)
        self._address, self._workers = self._program.ctypes.data, workers
        self._run = _serial_entry() if workers == 1 else _on_threads

    def run(self, x: np.ndarray, residual: np.ndarray, out: np.ndarray, check: int) -> int:
        """Run it once. With check: not where out's span meets that of an input; then the number of the input, from 1, else zero."""
        return self._run(x, residual, out, self._address, check, self._workers)


def lines(count: int) -> np.ndarray:
    """int64 zeros from a cache line on."""
    raw = np.zeros(count + ALIGNMENT_BYTES // 8, np.int64)
    begin = -raw.ctypes.data % ALIGNMENT_BYTES // 8
    return raw[begin : begin + count]


def _bind(x, residual, out, program, check):
    """Write the addresses of the arguments where they are needed; the number of the input that out overlaps, or zero."""
    last = 2
    if check:
        spans = program + SPANS
        begin, end = address_of(out) + peek(spans + 16 * last), address_of(out) + peek(spans + 16 * last + 8)
        for i, address in enumerate((address_of(x), address_of(residual))):
            if begin < address + peek(spans + 16 * i + 8) and address + peek(spans + 16 * i) < end:
                return i + 1
    patch = peek(program + PATCH_TABLE)
    for _ in range(peek(program + PATCHES)):
        number = peek(patch + ARGUMENT)
        address = address_of(x) if number == 0 else (address_of(residual) if number == 1 else address_of(out))
        poke(peek(patch + FIELD), address + peek(patch + OFFSET))
        patch += PATCH_BYTES
    return 0


_bind = jit.Inlined(_bind)


def _serial(x, residual, out, program, check, workers):
    overlap = _bind(x, residual, out, program, check)
    if overlap:
        return overlap
    step = peek(program + STEP_TABLE)
    for _ in range(peek(program + STEPS)):
        function, context = peek(step + FUNCTION), peek(step + CONTEXT)
        for index in range(peek(step + TASKS)):
            call(function, context, index)
        step += LINE
    return 0


def _work(me, workers, program):
    """One thread's part. Each worker has a share of every step, and a counter for it; one more counts the tasks that are done."""
    step, counters = peek(program + STEP_TABLE), peek(program + COUNTERS)
    for _ in range(peek(program + STEPS)):
        function, context, tasks = peek(step + FUNCTION), peek(step + CONTEXT), peek(step + TASKS)
        worker = me * peek(step + WORKER)
        done = counters + LINE * workers
        for turn in range(workers):
            owner = (me + turn) % workers
            begin, end = tasks * owner // workers, tasks * (owner + 1) // workers
            counter = counters + LINE * owner
            if turn == 0 or arrived(counter) < end - begin:
                index, ran = begin + take(counter), 0
                while index < end:
                    call(function, context, worker + index)
                    index, ran = begin + take(counter), ran + 1
                if ran > 0:
                    arrive(done, ran)
        waited = 0
        while arrived(done) < tasks:
            waited += 1
            if waited < PATIENCE:
                pause()
            else:
                give_way()
        step += LINE
        counters = done + LINE


_work = jit.Inlined(_work)


def _parallel(x, residual, out, program, check, workers):
    overlap = _bind(x, residual, out, program, check)
    if overlap:
        return overlap
    counters = peek(program + COUNTERS)
    for line in range(peek(program + STEPS) * (workers + 1)):
        poke(counters + LINE * line, 0)
    before = narrow(workers)
    workers = min(workers, before)
    for me in prange(workers):
        _work(me, workers, program)
    widen(before)
    return 0


SIGNATURE = (ArrayAddress(),) * len(ARGUMENTS) + (types.intp,) * 3


@cache
def _serial_entry() -> Callable[..., int]:
    return jit.entry_point(_serial, SIGNATURE)


@cache
def _parallel_entry() -> Callable[..., int]:
    return jit.entry_point(_parallel, SIGNATURE, parallel=True)


def load_all() -> None:
    """Compile, or load, what programs need beside their kernels."""
    _serial_entry()
    if started_layer():
        _parallel_entry()


def _on_threads(*arguments) -> int:
    return on_threads(_serial_entry, _parallel_entry, arguments)
