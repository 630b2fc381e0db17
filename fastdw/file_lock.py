"""A lock between processes, on a file; the system opens it when its holder dies."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 0.02


@contextmanager
def held(path: Path, timeout_seconds: float) -> Iterator[None]:
    """Holds the lock of a file, which is made where there is none and stays.

    Raises:
      TimeoutError: another process holds it.
      OSError: the file cannot be made, or its file system has no locks.
    """
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise TimeoutError(errno.ETIMEDOUT, f"locked by another process for {timeout_seconds} s", str(path)) from None
            time.sleep(POLL_SECONDS)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # not by closing alone: a child forked meanwhile has the file open too
    finally:
        os.close(descriptor)
