"""Compiled kernels on disk: one file a kernel and signature, in one directory for all that shapes the machine code.

    <cache>/<digest of fastdw's sources and of the versions of Python, Numba and llvmlite>/<kernel>-<digest of signature and CPU>.kernel

A file is 32 bytes of SHA-256, of its name and what follows, and the pickled object code. There is no index, so processes may
write side by side; a file that is cut short, altered, renamed or unreadable is compiled anew. Numba's own cache does not see
the callees of a kernel and raises on damaged files (https://github.com/numba/numba/issues/10434).
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

import llvmlite
import numba
from numba.core import config
from numba.core.compiler import CompileResult
from numba.core.runtime.nrt import rtsys

from fastdw import file_lock, knobs
from fastdw.machine import tuned_core
from fastdw.notices import LOG, warn_once

COMPILED: list[str] = []  # the kernels that this process has compiled
_given_up: set[Path] = set()  # directories where a lock was waited for in vain
DIGEST_LENGTH = 16
HASH_BYTES = 32
UNUSED_SECONDS = 14 * 24 * 3600  # directories of other digests are deleted when not used for so long
LEFTOVER_SECONDS = 3600  # a file that is being written for so long was left by a process that died
LOCK_SECONDS = 60  # a process that compiles for longer than this is not waited for
PACKAGE = Path(__file__).parent


def sources() -> list[Path]:
    return [path for pattern in ("tile/*.py", "kernels/*.py", "*.py") for path in sorted(PACKAGE.glob(pattern))]


@cache
def source_digest() -> str:
    """Of everything that shapes the machine code of a kernel."""
    options = [getattr(config, name, None) for name in ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DEBUGINFO_DEFAULT")]
    digest = hashlib.sha256(f"{sys.version} {numba.__version__} {llvmlite.__version__} {options}".encode())
    for path in sources():
        digest.update(f"\n{path.relative_to(PACKAGE)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:DIGEST_LENGTH]


@cache
def directory() -> Path | None:
    """This digest's directory, made when first asked for; None, with one warning, where there can be none."""
    try:
        root = knobs.cache_directory()
        if root is None:
            return None
        if not sources():
            warn_once(
                "cache", "kernels are compiled anew in each process: fastdw's source files, by which versions are told apart, are missing"
            )
            return None
        path = root / source_digest()
        if not path.is_dir():
            root.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o755, exist_ok=True)  # all may read; what others could write is not run
            _delete_unused(root, keep=path)
        owner = path.stat().st_uid
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
        warn_once("cache", "kernels are compiled anew in each process: no cache directory (%s); FASTDW_CACHE_DIR names one", error)
        return None
    if owner not in (0, os.geteuid()):  # a kernel is code: only one's own, or the system's, is run
        warn_once("cache", "kernels are compiled anew in each process: the cache %s belongs to another user", path)
        return None
    with suppress(OSError):  # a read-only cache serves too
        os.utime(path)
        _delete_old(path, "*.tmp", LEFTOVER_SECONDS)
    return path


def _delete_old(folder: Path, pattern: str, seconds: float) -> None:
    for file in folder.glob(pattern):
        if time.time() - file.stat().st_mtime >= seconds:
            file.unlink()


def _delete_unused(root: Path, keep: Path) -> None:
    """Of other digests, and only what this module makes: nothing else in the directory is ours."""
    for other in root.glob("[0-9a-f]" * DIGEST_LENGTH):
        with suppress(OSError):
            if other != keep and not other.is_symlink() and time.time() - other.stat().st_mtime > UNUSED_SECONDS:
                for pattern in ("*.kernel", "*.lock", "*.tmp"):
                    _delete_old(other, pattern, 0)
                other.rmdir()


def _checksum(path: Path, data: bytes) -> bytes:
    digest = hashlib.sha256(path.name.encode())
    digest.update(data)
    return digest.digest()


class KernelCache:
    """What a Numba dispatcher asks of its cache, for one kernel."""

    def __init__(self, name: str):
        self.name = name
        self.cache_path = str(directory() or "")

    def _path(self, signature, codegen) -> Path | None:
        folder = directory()
        if folder is None:
            return None
        key = hashlib.sha256(repr((str(signature), codegen.magic_tuple(), tuned_core())).encode()).hexdigest()[:24]
        return folder / f"{self.name}-{key}.kernel"

    def load_overload(self, signature, target_context):
        rtsys.initialize(target_context)  # all that kernels are linked to; compiling fills the registries that it needs itself
        path = self._path(signature, target_context.codegen())
        lack = f"the kernel cache has no {self.name}{signature}"
        if path is not None:
            try:
                content = path.read_bytes()
                checksum, data = content[:HASH_BYTES], content[HASH_BYTES:]
                if checksum != _checksum(path, data):
                    raise ValueError("its checksum is wrong")
                return CompileResult._rebuild(target_context, *pickle.loads(data))
            except FileNotFoundError:
                pass
            except Exception as error:  # whatever damage does to a pickle: a cache costs time, never a result
                LOG.info("%s is compiled anew: %s", path.name, error)
                lack = f"{path.name} cannot be used ({error})"
        if not knobs.may_compile():
            raise RuntimeError(f"FASTDW_NO_COMPILE: got 1, and {lack}; fastdw warmup compiles it")
        COMPILED.append(f"{self.name}{signature}")
        return None

    def has(self, signature, codegen) -> bool:
        """Whether a kernel is on disk."""
        path = self._path(signature, codegen)
        return path is not None and path.exists()

    def save_overload(self, signature, result) -> None:
        path = self._path(signature, result.codegen)
        if path is None or result.library.has_dynamic_globals:
            return
        data = pickle.dumps(result._reduce())
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)  # it may have been cleared away
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    os.fchmod(handle, 0o644)
                    file.write(_checksum(path, data) + data)
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError as error:
            warn_once(("unsaved", path.parent), "compiled kernels are not kept: %s cannot be written (%s)", path.parent, error)

    @contextmanager
    def lock(self):
        """Held round a first compile, so that processes started together compile each kernel once."""
        with ExitStack() as stack:
            folder = directory()
            if folder is not None:
                try:
                    stack.enter_context(file_lock.held(folder / f"{self.name}.lock", 0 if _given_up else LOCK_SECONDS))
                except TimeoutError:
                    _given_up.add(folder)
                except OSError:  # a cache that is read-only, or on a file system without locks: the work is done twice then
                    pass
            yield

    def enable(self) -> None:
        """Asked for by Numba; this cache is always on."""

    disable = flush = enable
