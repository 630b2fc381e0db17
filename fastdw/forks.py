"""What a child of fork must know: the threads of its parent are gone, and with them whoever held a lock.

Numba's threads are gone too where they were running, and GNU OpenMP would kill a child that asked for them. Python's own locks of
modules that are being imported, and the compiler's, would never open in a child: a fork waits until they are free.
"""

from __future__ import annotations

import logging  # noqa: F401 (its own lock is taken at a fork too, and must be after WHOLE: hooks run newest first)
import os
import sys
import threading
from weakref import WeakSet

threads_lost = False
WHOLE = threading.RLock()  # held while something is imported or compiled on first use, so that no child finds it half done


class Lock:
    """A lock that is open in a child, whatever thread of the parent held it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    def acquire(self, blocking: bool = True) -> bool:
        return self._lock.acquire(blocking)

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def _renew(self) -> None:
        self._lock = threading.Lock()


_locks: WeakSet[Lock] = WeakSet()


def _after_fork() -> None:
    global threads_lost
    parallel = sys.modules.get("numba.np.ufunc.parallel")
    threads_lost = threads_lost or bool(parallel and getattr(parallel, "_is_initialized", True))
    for lock in _locks:
        lock._renew()


os.register_at_fork(after_in_child=_after_fork)
os.register_at_fork(before=WHOLE.acquire, after_in_parent=WHOLE.release, after_in_child=WHOLE.release)
