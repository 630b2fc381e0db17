"""The one door to the compiler: options, tasks as function pointers, compilation on first use.

Nothing here imports Numba before a kernel is first needed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property, update_wrapper
from typing import Any

from fastdw import knobs
from fastdw.forks import WHOLE
from fastdw.notices import warn_once
from fastdw.tile.shapes import TileShape

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}  # and no fastmath: it would break infinities and bit equality
_ENTRY_POINTS: dict[Callable, tuple] = {}  # with their dispatchers, which own the machine code


def _dispatcher(function: Callable, cached: bool, **options):
    from numba import config, njit

    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        raise RuntimeError("NUMBA_DISABLE_JIT: got 1; fastdw's kernels need the compiler")
    dispatcher = njit(**OPTIONS, **options)(function)
    if cached:
        try:
            from fastdw.kernel_cache import KernelCache

            dispatcher._cache = KernelCache(f"{function.__module__.rpartition('.')[2]}.{function.__name__}")
        except ImportError as error:  # another Numba, whose internals have moved; its own cache would miss changed callees
            warn_once("numba", "kernels are compiled anew in each process: this Numba is not known (%s)", error)
    return dispatcher


def _compiled(dispatcher, signature: tuple):
    """The compile result for a signature, from memory, disk or the compiler."""
    with WHOLE:
        if signature not in dispatcher.overloads:
            if not knobs.may_compile() and not hasattr(dispatcher._cache, "has"):
                raise RuntimeError("FASTDW_NO_COMPILE: got 1, and nothing is kept with this Numba: its cache is not known")
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

            with WHOLE:
                result = _compiled(self.dispatcher, (shape._numba_type_, types.intp, types.intp))
                self._pointers[shape] = result.library.get_pointer_to_function(result.fndesc.llvm_cfunc_wrapper_name)
        return self._pointers[shape]

    def is_kept(self, shape: TileShape) -> bool:
        """Whether the machine code for a shape is in this process or on disk."""
        from numba import types
        from numba.core.registry import cpu_target

        signature = (shape._numba_type_, types.intp, types.intp)
        has = getattr(self.dispatcher._cache, "has", None)
        return shape in self._pointers or bool(has and has(signature, cpu_target.target_context.codegen()))


def entry_point(function: Callable, signature: tuple, **options) -> Callable:
    """A compiled function that is called from Python without the checks of a dispatcher: the caller vouches for its arguments."""
    with WHOLE:
        if function not in _ENTRY_POINTS:
            dispatcher = _dispatcher(function, cached=True, **options)
            _ENTRY_POINTS[function] = dispatcher, _compiled(dispatcher, signature).entry_point
        return _ENTRY_POINTS[function][1]


def compilations() -> list[str]:
    """The kernels that this process has compiled, not counting those loaded from disk."""
    import sys

    cache = sys.modules.get("fastdw.kernel_cache")
    return list(cache.COMPILED) if cache else []
