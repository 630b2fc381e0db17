"""The one door to the compiler: options, tasks as function pointers, compilation on first use.

Nothing here imports Numba before a kernel is first needed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import cached_property, update_wrapper
from typing import Any

from fastdw.tile.shapes import TileShape

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}  # and no fastmath: it would break infinities and bit equality
_LOCK = threading.RLock()
_KEPT: list = []  # dispatchers own the machine code of their entry points


def _dispatcher(function: Callable, cached: bool, **options):
    from numba import njit

    dispatcher = njit(**OPTIONS, **options)(function)
    if cached:
        try:
            from fastdw.kernel_cache import KernelCache
        except ImportError:  # another Numba, whose internals have moved: its own cache will do
            with suppress(RuntimeError):
                dispatcher.enable_caching()
        else:
            dispatcher._cache = KernelCache(f"{function.__module__.rpartition('.')[2]}.{function.__name__}")
    return dispatcher


def _compiled(dispatcher, signature: tuple):
    """The compile result for a signature, from memory, disk or the compiler."""
    with _LOCK:
        if signature not in dispatcher.overloads:
            with getattr(dispatcher._cache, "lock", nullcontext)():
                dispatcher.compile(signature)
        return dispatcher.overloads[signature]


class Inlined:
    """A function that kernels call and that is inlined into them."""

    def __init__(self, function: Callable):
        self.function = function
        update_wrapper(self, function)

    def __call__(self, *args):
        return self.function(*args)

    @cached_property
    def dispatcher(self):
        return _dispatcher(self.function, cached=False, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)

    @property
    def _numba_type_(self):
        from numba import typeof

        return typeof(self.dispatcher)


class Task:
    """A kernel: task(shape, context, index) does one serial unit of work. Called from Python it runs in NumPy."""

    def __init__(self, function: Callable):
        self.function = function
        self._pointers: dict[TileShape, int] = {}
        update_wrapper(self, function)

    def __call__(self, shape: TileShape, context: int, index: int) -> None:
        self.function(shape, context, index)

    @cached_property
    def dispatcher(self):
        return _dispatcher(self.function, cached=True, no_cpython_wrapper=True)

    def pointer(self, shape: TileShape) -> int:
        """The address of the machine code for a shape, compiled or loaded on first use.

        In C: void(void *unused, int64_t context, int64_t index).
        """
        if shape not in self._pointers:
            from numba import types

            result = _compiled(self.dispatcher, (shape._numba_type_, types.intp, types.intp))
            self._pointers[shape] = result.library.get_pointer_to_function(result.fndesc.llvm_cfunc_wrapper_name)
        return self._pointers[shape]


def entry_point(function: Callable, signature: tuple, **options) -> Callable:
    """A compiled function that is called from Python without the checks of a dispatcher: the caller vouches for its arguments."""
    dispatcher = _dispatcher(function, cached=True, **options)
    _KEPT.append(dispatcher)
    return _compiled(dispatcher, signature).entry_point


def compilations() -> list[str]:
    """The kernels that this process has compiled, not counting those loaded from disk."""
    import sys

    cache = sys.modules.get("fastdw.kernel_cache")
    return list(cache.COMPILED) if cache else []
