"""Weights and biases of a program in one piece of memory, in the order of use, and brought into the cache ahead of their use.

The parameters of a network often come from memory: they, and what lies between layers, are more than the caches hold. A
convolution that computes much for each byte leaves the memory idle meanwhile; its tasks bring in what later steps read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fastdw.call import Step
from fastdw.packing import ALIGNMENT_BYTES, BLANK, aligned_bytes, aligned_empty

Parameters = dict[str, np.ndarray]


def in_order(parameters: Sequence[Parameters]) -> tuple[list[Parameters], list[tuple[int, int]]]:
    """Copies, one after the other, and where those of each step begin and end: addresses. What many read stays where it is."""
    sizes = [sum(padded(array) for array in each.values() if array is not BLANK) for each in parameters]
    memory, begin = aligned_empty((sum(sizes),)), 0
    placed, ranges = [], []
    for each, size in zip(parameters, sizes, strict=True):
        copies, offset = {}, begin
        for name, array in each.items():
            copies[name] = array
            if array is not BLANK:
                copies[name] = memory[offset : offset + array.size].reshape(array.shape)
                copies[name][...] = array
                offset += padded(array)
        placed.append(copies)
        ranges.append((memory.ctypes.data + 4 * begin, memory.ctypes.data + 4 * offset))
        begin += size
    return placed, ranges


def padded(array: np.ndarray) -> int:
    """Floats up to the next cache line."""
    return aligned_bytes(array.nbytes) // 4


def look_ahead(steps: Sequence[Step], ranges: Sequence[tuple[int, int]], horizon_bytes: int) -> list[Step]:
    """The steps, told what to bring in: the parameters of what comes next, as much as the step can, and the cache may hold."""
    found = []
    last = ranges[-1][1]
    for step, (_, own_end) in reversed(list(zip(steps, ranges, strict=True))):
        end = min(last, own_end + min(horizon_bytes, ALIGNMENT_BYTES * step.turns * step.tasks))
        if step.ahead and own_end < end:
            memory = step.memory.copy()
            a_task = -(-(end - own_end) // step.tasks)
            memory[step.ahead : step.ahead + 3] = own_end, a_task, min(ALIGNMENT_BYTES, -(-a_task // step.turns))
            step, last = replace(step, memory=memory), own_end
        found.append(step)
    return found[::-1]
