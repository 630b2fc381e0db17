"""Compiled kernels on disk: found again by the next process, never trusted when damaged or out of date, never in the way."""

from __future__ import annotations

import compileall
import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from one_call import DROP_PRIVILEGES, PACKAGE, Run, finish, run, start

from fastdw import file_lock

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs capset, to bind root to file permissions")


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> tuple[Path, Run]:
    """A cache that one process has filled, and what that process reported. Copy it to change it."""
    cache = tmp_path_factory.mktemp("cache") / "kernels"
    first = run(cache)
    assert len(first.compiled) >= 2
    assert first.warned == []
    return cache, first


@pytest.fixture
def cache(filled, tmp_path) -> Path:
    return Path(shutil.copytree(filled[0], tmp_path / "cache"))


@pytest.fixture
def first(filled) -> Run:
    return filled[1]


def kernel_files(cache: Path) -> list[Path]:
    files = sorted(cache.glob("*/*.kernel"))
    assert files
    return files


# ---- the next process ----
def test_second_process_compiles_nothing(cache, first):
    assert run(cache) == Run([], first.bits, [])


def test_one_file_for_each_compiled_kernel(cache, first):
    assert len(kernel_files(cache)) == len(first.compiled) == len(set(first.compiled))
    assert not list(cache.glob("*/*.tmp"))


def test_a_cache_may_be_moved_with_the_package(cache, first, tmp_path):
    elsewhere = Path(shutil.copytree(PACKAGE, tmp_path / "elsewhere" / "fastdw"))
    assert run(cache, elsewhere) == Run([], first.bits, [])


def test_another_cpu_compiles_anew(cache, first):
    second = run(cache, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    assert len(second.compiled) == len(first.compiled)


# ---- another source ----
def edited_package(folder: Path, old: str, new: str) -> Path:
    package = Path(shutil.copytree(PACKAGE, folder / "edited" / "fastdw", ignore=shutil.ignore_patterns("__pycache__")))
    sources = [source for source in package.rglob("*.py") if old in source.read_text()]
    assert sources
    for source in sources:
        source.write_text(source.read_text().replace(old, new))
    return package


def test_a_package_without_sources_is_compiled_anew(cache, first, tmp_path):
    """As bundlers ship them: nothing tells whether another version has written what is in the cache."""
    package = Path(shutil.copytree(PACKAGE, tmp_path / "bundle" / "fastdw", ignore=shutil.ignore_patterns("__pycache__")))
    assert compileall.compile_dir(package, quiet=2, legacy=True)
    for source in package.rglob("*.py"):
        source.unlink()
    second = run(cache, package)
    assert (second.compiled, second.bits) == (first.compiled, first.bits)
    (warning,) = second.warned
    assert "source files" in warning


def test_an_edited_callee_is_compiled_anew(cache, first, tmp_path):
    package = edited_package(tmp_path, "activate(shape, acc, c.low, c.high)", "activate(shape, add(acc, acc), c.low, c.high)")
    second = run(cache, package)
    assert second.compiled == first.compiled
    assert second.bits != first.bits


def test_a_renamed_type_is_compiled_anew(cache, first, tmp_path):
    package = edited_package(tmp_path, "ConstantsType", "FixedIntegersType")
    assert run(cache, package) == first


def test_files_that_name_a_vanished_type_are_compiled_anew(cache, first, tmp_path):
    """As if the digest had not seen the renaming."""
    package = edited_package(tmp_path, "ConstantsType", "FixedIntegersType")
    old_files = kernel_files(cache)
    run(cache, package)
    (new_directory,) = {file.parent for file in kernel_files(cache)} - {old_files[0].parent}
    for file in old_files:
        shutil.copy(file, new_directory)
    second = run(cache, package)
    assert second.compiled == [name for name in first.compiled if "TileShape" in name] != []
    assert second.bits == first.bits


# ---- damage ----
def flip(at: int) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[at % len(data)] ^= 0x10
        file.write_bytes(data)

    return damage


def truncate(keep: Callable[[int], int]) -> Callable[[Path], None]:
    return lambda file: os.truncate(file, keep(file.stat().st_size))


def replace_by_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


HEALED = {
    "emptied": truncate(lambda size: 0),
    "cut in the checksum": truncate(lambda size: 31),
    "cut after the checksum": truncate(lambda size: 32),
    "cut in half": truncate(lambda size: size // 2),
    "cut by one byte": truncate(lambda size: size - 1),
    "a byte of the checksum flipped": flip(3),
    "a byte of the code flipped": flip(5000),
    "the last byte flipped": flip(-1),
    "another file's content": lambda file: file.write_bytes(b"\x80\x04N." * 20),
}


@pytest.mark.parametrize("damage", HEALED)
def test_damaged_files_are_compiled_anew_and_replaced(damage, cache, first):
    for file in kernel_files(cache):
        HEALED[damage](file)
    assert run(cache) == first
    assert run(cache) == Run([], first.bits, []), "the damage is not healed"


def test_one_damaged_file_leaves_the_others_in_use(cache, first):
    for damaged in kernel_files(cache)[:2]:
        os.truncate(damaged, 1000)
        second = run(cache)
        assert second.bits == first.bits
        assert len(second.compiled) == 1


def test_files_that_changed_places_are_compiled_anew(cache, first):
    """As after a repair of the file system: each is whole, and not what its name says."""
    one, other, *_ = kernel_files(cache)
    kept = one.read_bytes()
    other.replace(one)
    other.write_bytes(kept)
    second = run(cache)
    assert second.bits == first.bits
    assert len(second.compiled) == 2
    assert run(cache) == Run([], first.bits, [])


def test_what_a_killed_process_left_is_cleared_away_later(cache, first):
    (directory,) = {file.parent for file in kernel_files(cache)}
    old, new = directory / "pointwise.pointwise-0old.tmp", directory / "pointwise.pointwise-0new.tmp"
    for file, age in ((old, 7200), (new, 60)):
        file.write_bytes(b"half")
        os.utime(file, (time.time() - age,) * 2)
    assert run(cache) == Run([], first.bits, [])
    assert not old.exists()
    assert new.exists(), "another process may be writing it"


def test_directories_in_place_of_files_cost_time_only(cache, first):
    for file in kernel_files(cache):
        replace_by_directory(file)
    second = run(cache)
    assert second.bits == first.bits
    assert second.compiled == first.compiled
    assert len(second.warned) <= 1


@on_linux
def test_unreadable_files_cost_time_only(cache, first):
    for file in kernel_files(cache):
        file.chmod(0)
    assert run(cache, before=DROP_PRIVILEGES) == first


@on_linux
def test_unreadable_files_are_named_where_nothing_may_be_compiled(cache):
    for file in kernel_files(cache):
        file.chmod(0)
    refused = start(cache, before=DROP_PRIVILEGES, FASTDW_NO_COMPILE="1")
    complained = refused.communicate()[1].splitlines()[-1]
    assert re.search(r"^RuntimeError: FASTDW_NO_COMPILE: got 1, and .*\.kernel cannot be used \(.*Permission denied", complained)


def test_all_users_may_read_what_one_has_compiled(tmp_path):
    run(tmp_path, before="import os; os.umask(0o022)\n")
    assert {folder.stat().st_mode & 0o777 for folder in tmp_path.iterdir()} == {0o755}
    assert {file.stat().st_mode & 0o777 for file in kernel_files(tmp_path)} == {0o644}


# ---- nowhere to write ----
@contextmanager
def read_only(*directories: Path) -> Iterator[None]:
    for directory in directories:
        directory.chmod(0o555)
    try:
        yield
    finally:
        for directory in directories:
            directory.chmod(0o755)


@on_linux
def test_a_full_cache_that_is_read_only_is_used(cache, first):
    with read_only(cache, *cache.iterdir()):
        second = run(cache, before=DROP_PRIVILEGES)
    assert second.compiled == []
    assert second.bits == first.bits
    assert len(second.warned) <= 1


@on_linux
def test_an_empty_directory_that_is_read_only(tmp_path, first):
    with read_only(tmp_path):
        second = run(tmp_path, before=DROP_PRIVILEGES)
    assert second.compiled == first.compiled
    assert second.bits == first.bits
    assert len(second.warned) == 1


FULL = {
    "a limit of size": "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))",
    "no space": """
import errno, os
def full(*arguments): raise OSError(errno.ENOSPC, "No space left on device")
os.replace = full
""",
    "no space for a directory": """
import errno, os
def full(*arguments): raise OSError(errno.ENOSPC, "No space left on device")
os.mkdir = full
""",
}


@pytest.mark.parametrize("before", FULL)
def test_a_full_disk_is_one_warning(before, tmp_path, first):
    second = run(tmp_path / "cache", before=FULL[before])
    assert second.compiled == first.compiled
    assert second.bits == first.bits
    assert len(second.warned) == 1
    assert not list(tmp_path.rglob("*.kernel"))
    assert not list(tmp_path.rglob("*.tmp"))
    assert run(tmp_path / "cache") == first, "with space again, kernels are kept"
    assert run(tmp_path / "cache") == Run([], first.bits, [])


def test_a_cache_that_is_cleared_away_meanwhile(tmp_path, first):
    code = f"""
import shutil
import numpy as np
import fastdw
fastdw.global_average_pool2d(np.ones((1, 4, 4, 16), np.float32))
shutil.rmtree({str(tmp_path / "cache")!r})
"""
    second = run(tmp_path / "cache", before=code)
    assert (second.bits, second.warned) == (first.bits, [])
    assert kernel_files(tmp_path / "cache")


def test_a_relative_directory_does_not_move_with_the_process(tmp_path, first):
    (tmp_path / "elsewhere").mkdir()
    code = f"""
import os
import numpy as np
import fastdw
os.chdir({str(tmp_path)!r})
fastdw.global_average_pool2d(np.ones((1, 4, 4, 16), np.float32))
os.chdir("elsewhere")
"""
    assert run("kernels", before=code).bits == first.bits
    assert len(kernel_files(tmp_path / "kernels")) > len(first.compiled)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_file_where_the_cache_should_be(tmp_path, first):
    (tmp_path / "file").write_text("in the way")
    second = run(tmp_path / "file" / "cache")
    assert second.compiled == first.compiled
    assert second.bits == first.bits
    assert len(second.warned) == 1
    assert "FASTDW_CACHE_DIR" in second.warned[0]


@pytest.mark.parametrize("off", ["off", ""])
def test_no_cache_when_switched_off(off, first):
    assert run(off) == first


def test_home_that_cannot_be_written(tmp_path, first):
    (tmp_path / "home").write_text("not a directory")
    second = run(None, HOME=str(tmp_path / "home"), XDG_CACHE_HOME="")
    assert second.bits == first.bits
    assert len(second.warned) == 1


def test_no_home_at_all(tmp_path, first):
    """A user without HOME and without an entry in the password database, as in some containers."""
    homeless = f"""
import os, pwd
def missing(uid): raise KeyError(uid)
pwd.getpwuid = missing
del os.environ["HOME"]
os.environ.pop("XDG_CACHE_HOME", None)
os.chdir({str(tmp_path)!r})
"""
    second = run(None, before=homeless)
    assert second.bits == first.bits
    assert len(second.warned) <= 1
    assert list(tmp_path.iterdir()) == [], "a directory named ~ is made wherever the process happens to run"


def test_the_default_place_is_the_users_cache_directory(tmp_path, first):
    second = run(None, HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "xdg"))
    assert second == first
    assert len(kernel_files(tmp_path / "xdg" / "fastdw")) == len(first.compiled)


# ---- several processes ----
@pytest.mark.parametrize("count", [2, 4])
def test_processes_started_together_compile_each_kernel_once(count, tmp_path, first):
    processes = [start(tmp_path / "cache") for _ in range(count)]
    runs = [finish(process) for process in processes]
    assert {each.bits for each in runs} == {first.bits}
    assert all(each.warned == [] for each in runs)
    compiled = Counter(name for each in runs for name in each.compiled)
    assert compiled == Counter(first.compiled), "kernels compiled more or less than once"


def test_a_stopped_process_is_not_waited_for_for_ever(cache, first):
    """One that holds every lock and does nothing."""
    (directory,) = (path for path in cache.iterdir() if path.is_dir())
    locks = list(directory.glob("*.lock"))
    for file in kernel_files(cache):
        file.unlink()
    with ExitStack() as held:
        for lock in locks:
            held.enter_context(file_lock.held(lock, 0))
        second = run(cache, before="import fastdw.kernel_cache; fastdw.kernel_cache.LOCK_SECONDS = 1")
    assert (second.compiled, second.bits) == (first.compiled, first.bits)
    assert run(cache) == Run([], first.bits, [])


# ---- old entries ----
def test_directories_of_other_sources_go_when_they_are_old(tmp_path, first):
    day = 24 * 3600
    abandoned, used, new, foreign = "a" * 16, "b" * 16, "c" * 16, "Documents"
    ages = {abandoned: 15 * day, used: 7 * day, new: 0, foreign: 100 * day}
    for name, age in ages.items():
        directory = tmp_path / name
        directory.mkdir()
        (directory / "pointwise.pointwise-0.kernel").write_bytes(b"old")
        os.utime(directory, (time.time() - age,) * 2)
    (tmp_path / "a file of someone else").write_text("stays")
    os.utime(tmp_path / "a file of someone else", (0, 0))
    run(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert abandoned not in left
    assert {used, new, foreign, "a file of someone else"} <= left
    assert len(left) == 5, "and this source's own"


def test_a_directory_in_use_stays_young(cache):
    (directory,) = (path for path in cache.iterdir() if path.is_dir())
    os.utime(directory, (0, 0))
    run(cache)
    assert time.time() - directory.stat().st_mtime < 3600
