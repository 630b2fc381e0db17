"""Where profiles lie, and reading and writing them so that nothing is lost and no call fails.

The profile of a process is the user's own for this machine, or the file that FASTDW_PROFILE names; beneath it lies one of
the whole system, read only, with the same name in the system's data directory.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from fastdw import file_lock, knobs
from fastdw.machine import host
from fastdw.notices import LOG
from fastdw.problem import Problem
from fastdw.profile import Damaged, Entry, Profile, ProfileError, difference

LOCK_SECONDS = 30
MOST_BYTES = 64 << 20
TEMPORARY = ".fastdw-tmp"  # how the names of files end that are being written
LEFTOVER_SECONDS = 3600  # one that is being written for so long was left by a process that died
TRIALS, DAMAGED = ".trials.jsonl", ".damaged"


# ---- where ----
def usual_name() -> str:
    """Names this machine: homes and images may be shared between several."""
    identity = host().identity
    words = re.sub(r"[^a-z0-9]+", "-", host().name.lower()).strip("-")[:40] or "cpu"
    return f"{words}-{hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]}.json"


def user_path() -> Path:
    """
    Raises:
      ProfileError: profiles are off, or the user has no home.
    """
    named = _named()
    if isinstance(named, Profile):
        named = knobs.profile()
    if named in knobs.OFF:
        raise ProfileError("FASTDW_PROFILE turns profiles off")
    import platformdirs

    try:
        path = Path(named).expanduser() if named else Path(platformdirs.user_data_dir("fastdw", appauthor=False), usual_name())
    except RuntimeError as error:  # the user has no home
        raise ProfileError(f"there is no place for a profile ({error}); FASTDW_PROFILE names one") from None
    if not named and not path.is_absolute():
        raise ProfileError("there is no place for a profile (no home directory); FASTDW_PROFILE names one")
    return path


def system_paths() -> list[Path]:
    """Where a system-wide profile of this machine may lie; the first that exists counts."""
    import platformdirs

    return [
        Path(folder, usual_name()) for folder in platformdirs.site_data_dir("fastdw", appauthor=False, multipath=True).split(os.pathsep)
    ]


def beside(path: Path, suffix: str) -> Path:
    """A file that belongs to a profile, where that really lies; no two profiles share one."""
    return Path(os.path.realpath(path) + suffix)


# ---- reading ----
def read(path: Path) -> Profile:
    """
    Raises:
      FileNotFoundError: there is none.
      ProfileError: it cannot be read, or is no profile of a known schema.
    """
    text = _text(path)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:  # RecursionError: brackets without end
        raise Damaged(f"{path}: it is no JSON ({error})" if text else f"{path}: it is empty") from None
    try:
        return Profile.from_json(document)
    except ProfileError as error:
        raise type(error)(f"{path}: {error}") from None


def _text(path: Path) -> bytes:
    try:
        _check_file(path)
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:  # a directory or a file that may not be read
        raise ProfileError(f"{path}: {error.strerror or error}") from None


def _check_file(path: Path) -> None:
    """What is at a path could be a profile."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ProfileError(f"{path}: it is {'a directory' if stat.S_ISDIR(status.st_mode) else 'no regular file'}")
    if status.st_size > MOST_BYTES:
        raise ProfileError(f"{path}: it has {status.st_size:,} bytes, more than a profile")


def read_own(path: Path) -> Profile:
    """A profile of this machine.

    Raises:
      FileNotFoundError, ProfileError: as `read`, and where it is of another machine.
    """
    profile = read(path)
    if other := difference(host().identity, profile.machine):
        raise ProfileError(f"{path}: it is of another machine ({other})")
    return profile


# ---- writing ----
def update(path: Path, entries: Iterable[Entry]) -> str | None:
    """Adds entries to the profile at a path, made where there is none; what others have added meanwhile stays.

    Returns:
      What was found damaged and set aside, in words, or None.

    Raises:
      ProfileError: it cannot be written, is of another machine or of a newer schema.
    """
    with _locked(path) as place:
        profile, aside = _readable(place)
        for entry in entries:
            profile.add(entry)
        write(place, profile)
        return aside


def check_writable(path: Path) -> None:
    """Whether `update` could write there now, without writing.

    Raises:
      ProfileError: as `update`.
    """
    with _locked(path) as place:
        with suppress(FileNotFoundError, Damaged):
            read_own(place)
        tempfile.TemporaryFile(dir=place.parent).close()


@contextmanager
def _locked(path: Path) -> Iterator[Path]:
    """The place of a profile that no other process updates meanwhile, its folder made. What goes wrong is a ProfileError."""
    path = beside(path, "")
    with _failures_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock.held(beside(path, ".lock"), LOCK_SECONDS):
            for left in path.parent.glob(f"{glob.escape(_temporary_prefix(path))}*{TEMPORARY}"):
                if time.time() - left.stat().st_mtime > LEFTOVER_SECONDS:
                    left.unlink()
            yield path


def _temporary_prefix(path: Path) -> str:
    return f".{path.name}-"


@contextmanager
def _failures_named(path: Path) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise ProfileError(f"{path}: another process has held its lock for {LOCK_SECONDS} s") from None
    except OSError as error:
        raise ProfileError(f"{path}: it cannot be written ({error.strerror or error})") from None


def _readable(path: Path) -> tuple[Profile, str | None]:
    """What lies at a path. What is no profile is renamed, not overwritten; one of another machine or schema stays and is an error."""
    try:
        return read_own(path), None
    except FileNotFoundError:
        return Profile(host().identity), None
    except Damaged as error:
        aside = beside(path, DAMAGED)
        os.replace(path, aside)
        return Profile(host().identity), f"{error}; it is kept as {aside.name}"


def write(path: Path, profile: Profile) -> None:
    """All or nothing: a temporary file, then renamed. A link stays, and what it names is written.

    Raises:
      ProfileError: it cannot be written, or something else than a file is there.
    """
    text = json.dumps(profile.to_json(), indent=1)
    with _failures_named(path):
        with suppress(FileNotFoundError):
            _check_file(path)
        path = beside(path, "")
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_temporary_prefix(path), suffix=TEMPORARY)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


# ---- the profiles in effect ----
_chosen: str | Profile | None = None


def choose(named: str | Profile | None) -> None:
    """For this process, what FASTDW_PROFILE would name, or a profile in memory; None: what it does name. Files are read again."""
    global _chosen
    _chosen = named
    forget()


def forget() -> None:
    """Read the profiles again when they are next asked for."""
    _in_effect.cache_clear()


def _named() -> str | Profile | None:
    return knobs.profile() if _chosen is None else _chosen


def in_effect() -> list[tuple[Path, Profile]]:
    """The user's profile and the system's beneath it, those that there are, read once. What is wrong with one is said once."""
    return _in_effect(_named())


@cache
def _in_effect(named: str | Profile | None) -> list[tuple[Path, Profile]]:
    if isinstance(named, Profile):
        return [(Path("memory"), named)]
    if named in knobs.OFF:
        return []
    found = []
    for path in _existing(named):
        try:
            found.append((path, read_own(path)))
        except FileNotFoundError:
            pass
        except ProfileError as error:
            LOG.warning("profile not used: %s", error)
    for path, profile in found:
        stale = sum(not entry.is_current for entry in profile.entries.values())
        if profile.dropped:
            LOG.warning("profile %s: %d entries are damaged and not used (%s)", path, len(profile.dropped), profile.dropped[0])
        if stale:
            LOG.warning("profile %s: %d of %d entries were measured with other kernels and are not used; run: fastdw autotune",
                        path, stale, len(profile.entries))  # fmt: skip
    return found


def _existing(named: str | None) -> list[Path]:
    """The user's profile, then the system's. One in a home that cannot be entered does not exist."""
    paths = [path for path in system_paths() if os.path.exists(path)][:1]
    try:
        path = user_path()
    except ProfileError as error:
        if named:
            LOG.warning("profile not used: %s", error)
        return paths
    return [path, *paths] if named or os.path.exists(path) else paths


def lookup(problem: Problem, threads: int) -> tuple[Entry, str] | None:
    """The entry for a problem, and in words how it was found: the very problem, else the nearest one."""
    layer = knobs.threading_layer()
    for find, how in ((Profile.exact, "tuned"), (Profile.nearest, "nearest tuned")):
        for _, profile in in_effect():
            entry = find(profile, problem, threads)
            if entry and (threads == 1 or layer in (None, entry.layer)):
                return entry, how if how == "tuned" else f"{how}: {entry.problem.key}"
    return None
