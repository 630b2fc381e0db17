"""Whether this process is the child of one whose Numba threads were running: they are gone here, and GNU OpenMP would kill it."""

from __future__ import annotations

import os
import sys

threads_lost = False


def _after_fork() -> None:
    global threads_lost
    parallel = sys.modules.get("numba.np.ufunc.parallel")
    threads_lost = threads_lost or bool(parallel and getattr(parallel, "_is_initialized", True))


os.register_at_fork(after_in_child=_after_fork)
