"""Arrays for a problem, and any of its plans bound to them.

warm: one set of arrays again and again. cold: as in a network, where weights come from memory, and images from wherever a few
layers have left them. So weights go round in a ring that no cache holds, and images in one twice as large as the second level.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np

from fastdw import gather
from fastdw.call import Call, bind
from fastdw.kernels.spec import Plan
from fastdw.machine import host
from fastdw.packing import ALIGNMENT_BYTES, aligned_empty
from fastdw.problem import CONV, DEPTHWISE, POINTWISE, POOL, Problem
from fastdw.profile import COLD
from fastdw.tile.activations import CLAMP

KINDS = (DEPTHWISE, POINTWISE, CONV, POOL)
MOST_COPIES = 4096
LINE = ALIGNMENT_BYTES // 4  # floats
IMAGE_RING = 2  # times the second level of cache
GAP = 16  # channels between two pixels where they are not dense


class Untunable(ValueError):
    """A problem that there are no arrays for."""


class Arena:
    """Memory for cold copies, kept from one workload to the next."""

    def __init__(self, n_bytes: int):
        self.floats = aligned_empty(n_bytes // 4)
        self.floats.fill(1)  # memory that was never written is one page of zeros


class Workload:
    """Random arrays for a problem. Values are normal numbers of ordinary size."""

    def __init__(self, problem: Problem, threads: int, arena: Arena, seed: int = 0):
        if problem.kind not in KINDS:
            raise Untunable(f"{problem.key}: problems of kind {problem.kind} are not tuned")
        self.problem, self.arena = problem, arena
        rng = np.random.default_rng(seed)

        def normal(*shape: int) -> np.ndarray:
            array = aligned_empty(shape)
            rng.standard_normal(dtype=np.float32, out=array)
            return array

        p = problem
        self.pixels = normal(p.batch, p.height, p.width, p.channels if p.dense_pixels else p.channels + GAP)
        shape = {DEPTHWISE: (*p.kernel, p.channels, p.multiplier), POINTWISE: (p.channels, p.out_channels)}.get(
            p.kind, (*p.kernel, p.channels, p.out_channels)
        )
        weight = None if p.kind == POOL else gather.pack(p.kind, normal(*shape))
        bias = None if p.kind == POOL else normal(p.out_channels)
        window: dict[str, Any] = {} if p.kind in (POINTWISE, POOL) else {"stride": p.stride, "padding": p.padding, "dilation": p.dilation}
        activation = None if p.activation.name == CLAMP else p.activation.name
        gathered = gather.gather(p.kind, self.pixels[..., : p.channels], weight, bias, activation=activation, threads=threads, **window)
        self.request, self.x, self.weight, self.bias, _, _ = gathered
        self.out_shape = (p.batch, p.channels) if p.kind == POOL else p.out_shape

    def bind(self, plan: Plan) -> Call:
        """Compiles what the plan needs."""
        return bind(self.request, lambda problem, threads: plan)

    def result(self, call: Call) -> np.ndarray:
        return call(self.x, self.weight, self.bias, None, aligned_empty(self.out_shape))

    def runner(self, residency: str) -> Callable[[Call], Callable[[int], None]]:
        """On arrays of its own, made now: from a call to a function that makes so many calls on them."""
        weights = cycle(self._weights() if residency == COLD else [self._copy_of_weight()])
        images = cycle([self._images() for _ in range(self._count_images() if residency == COLD else 1)])
        bias = self.bias

        def runner_of(call: Call) -> Callable[[int], None]:
            def run(count: int) -> None:
                for _ in range(count):
                    x, out = next(images)
                    call(x, next(weights), bias, None, out)

            return run

        return runner_of

    def _images(self) -> tuple[np.ndarray, np.ndarray]:
        """An input and an output."""
        floats = aligned_empty(self.pixels.shape)
        np.copyto(floats, self.pixels)
        return floats[..., : self.problem.channels], aligned_empty(self.out_shape)

    def _count_images(self) -> int:
        n_bytes = 4 * (self.pixels.size + math.prod(self.out_shape))
        return max(2, min(MOST_COPIES, IMAGE_RING * host().l2_size // n_bytes))

    def _copy_of_weight(self) -> np.ndarray:
        return self.weight if self.problem.kind == POOL else _copied(self.weight, aligned_empty(self.weight.shape))

    def _weights(self) -> list[np.ndarray]:
        """Copies one after the other through the arena."""
        if self.problem.kind == POOL:
            return [self.weight]
        span = -(-self.weight.size // LINE) * LINE
        count = min(MOST_COPIES, self.arena.floats.size // span)
        if count < 2:
            return [self._copy_of_weight() for _ in range(2)]
        parts = [self.arena.floats[start : start + self.weight.size] for start in range(0, count * span, span)]
        return [_copied(self.weight, part.reshape(self.weight.shape)) for part in parts]


def _copied(array: np.ndarray, into: np.ndarray) -> np.ndarray:
    np.copyto(into, array)
    return into
