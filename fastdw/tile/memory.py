"""What a task that runs other tasks needs: words of memory, moves, counters, and calls of machine code. Addresses are in bytes."""

from __future__ import annotations

import ctypes

from fastdw.tile.operations import Operation


@Operation
def peek(address: int) -> int:
    """The int64 at an address."""
    return ctypes.c_int64.from_address(address).value


@Operation
def poke(address: int, value: int) -> None:
    """int64 at address = value"""
    ctypes.c_int64.from_address(address).value = value


@Operation
def move(target: int, source: int, n_bytes: int) -> None:
    """Copy bytes; the two may overlap."""
    ctypes.memmove(target, source, n_bytes)


@Operation
def prefetch(address: int) -> None:
    """Bring the cache line of an address into the second-level cache, without waiting; the address may be any."""


@Operation
def take(address: int) -> int:
    """Add one to the int64 at an address, at once with reading it; what it was."""
    before = peek(address)
    poke(address, before + 1)
    return before


@Operation
def arrive(address: int, count: int) -> None:
    """Add a count to the int64 at an address, after all that was written before."""
    poke(address, peek(address) + count)


@Operation
def arrived(address: int) -> int:
    """The int64 at an address, before all that is read after."""
    return peek(address)


@Operation
def pause() -> None:
    """Let the other thread of the core work, while this one waits."""


@Operation
def give_way() -> None:
    """Let another thread have this core, where one waits for it."""


@Operation
def call(function: int, context: int, index: int) -> None:
    """Run unit `index` of the task whose machine code is at `function`."""
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(function)(None, context, index)
