"""Numba's threads: how many a call gets, and where it goes when it can have none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache

from numba import config, get_num_threads, threading_layer, types

from fastdw import forks, jit, notices
from fastdw.limits import usable_cores

# Numba's mask of this thread: what its Python functions of these names read and write, at a thousandth of their cost.
_get_num_threads = types.ExternalFunction("get_num_threads", types.intp())  # an int in C; intp is what prange declares
_set_num_threads = types.ExternalFunction("set_num_threads", types.void(types.intp))


def narrow(count):
    """For compiled code: at most `count` threads for the pranges of this thread; how many there were before."""
    before = _get_num_threads() & 0xFFFFFFFF
    if count < before:
        _set_num_threads(count)
    return before


def widen(count):
    """For compiled code: as many threads as narrow() found."""
    _set_num_threads(count)


narrow, widen = jit.Inlined(narrow), jit.Inlined(widen)


class Shared:
    """The cores that calls on several threads have taken. Python threads that call at once share them, rather than each starting
    as many threads as there are cores; a call that finds none left runs on its own thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.taken = 0

    def take(self, wanted: int, cores: int, alone: bool) -> int:
        """As many of the cores as can be had. alone: none while another call has any."""
        with self._lock:
            if alone and self.taken:
                return 1
            got = min(wanted, cores - self.taken)
            if got <= 1:
                return 1
            self.taken += got
            return got

    def give_back(self, got: int) -> None:
        with self._lock:
            self.taken -= got


_cores = Shared()


def on_threads(alone: Callable[[], Callable[..., int]], together: Callable[[], Callable[..., int]], arguments: tuple) -> int:
    """together()(*arguments), the last of which is the number of threads, lowered to what can be had now; alone()(*arguments)
    where no second core is free, or Numba's threads cannot be used: after a fork they are gone."""
    workers, cores = arguments[-1], usable_cores()
    layer = "" if cores == 1 or forks.threads_lost else started_layer()
    got = _cores.take(workers, cores, alone=layer == "workqueue") if layer else 1
    if got == 1:
        return alone()(*arguments)
    try:
        return together()(*(arguments if got == workers else (*arguments[:-1], got)))
    finally:
        _cores.give_back(got)


@cache
def started_layer() -> str:
    """Numba's threading layer, started; empty, with one warning, where there is no library for it."""
    with forks.WHOLE:
        try:
            get_num_threads()
            return threading_layer()
        except (ImportError, ValueError) as error:  # none can be loaded; not the one that NUMBA_THREADING_LAYER asks for
            reason = str(error).strip().partition("\n")[0]
            notices.warn_once("threads", "calls run on one thread: Numba cannot start threads here (%s)", reason)
            return ""


def layer_in_use() -> str:
    """Numba's threading layer; empty before the first parallel launch."""
    try:
        return threading_layer()
    except ValueError:  # there is none yet
        return ""


def thread_limit() -> int:
    """How many threads a call may use now: those of Numba's pool, bounded by the cores that this thread may use."""
    return min(config.NUMBA_NUM_THREADS, usable_cores())  # type: ignore[attr-defined]
