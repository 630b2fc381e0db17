"""`fastdw profile`: the measured plans of this machine, and how machines that are alike share them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fastdw.cli.text import print_table

if TYPE_CHECKING:
    from fastdw.profile import Entry, Profile


def add(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("profile", help="the measured plans of this machine", description="The measured plans of this machine.")
    actions = parser.add_subparsers(title="actions", metavar="action", required=True)

    def action(name: str, function: Callable, text: str, *files: tuple[str, dict]) -> None:
        one = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        for file, keywords in files:
            one.add_argument(file, type=Path, metavar="FILE", **keywords)
        one.set_defaults(command=function)

    mine = ("file", {"nargs": "?", "help": "a profile (this machine's own)"})
    action("show", show, "what a profile holds", mine)
    action("path", path, "where this machine's profile lies")
    action("export", export, "copy this machine's profile to a file", ("file", {}))
    action("import", import_, "add the entries of a profile that an identical machine exported", ("file", {}))
    action("merge", merge, "make one profile of several of one kind of machine; later ones count", ("out", {}), ("files", {"nargs": "+"}))
    action("diff", diff, "how two profiles differ", ("one", {}), ("other", {}))
    action("verify", verify, "check that each plan can be used here and gives the default's bits", mine)
    action("clear", clear, "delete this machine's profile")


def read(file: Path | None) -> tuple[Path, Profile]:
    from fastdw import profile_files

    path = file or profile_files.user_path()
    try:
        return path, profile_files.read(path)
    except FileNotFoundError:
        hint = "" if file else "; fastdw autotune makes one"
        raise ValueError(f"{path}: there is no profile{hint}") from None


def show(options: argparse.Namespace) -> None:
    from fastdw.machine import host
    from fastdw.profile import difference

    path, profile = read(options.file)
    print(path)
    print(", ".join(f"{name} {value}" for name, value in profile.machine.items()))
    if other := difference(host().identity, profile.machine):
        print(f"of another machine: {other}")
    rows = [("problem", "plan", "threads", "default us", "tuned us", "gain", "measured", "state")]
    for entry in profile.entries.values():
        rows.append((entry.problem.key, str(entry.plan), f"{entry.threads}", *shown_times(entry), entry.measured, state(entry)))
    print_table(rows, n_text_columns=2)
    for reason in profile.dropped:
        print(f"damaged: {reason}")


def shown_times(entry: Entry) -> tuple[str, str, str]:
    residency = "cold" if "cold" in entry.times else next(iter(entry.times), None)
    if residency is None:
        return "", "", ""
    default, tuned = entry.default_times[residency].median, entry.times[residency].median
    return f"{1e6 * default:.1f}", f"{1e6 * tuned:.1f}", f"{default / tuned:.2f}" if entry.plan != entry.default else "="


def state(entry: Entry) -> str:
    return " ".join((["throttled"] if entry.throttled else []) + ([] if entry.is_current else ["of other kernels"]))


def path(options: argparse.Namespace) -> None:
    from fastdw import profile_files

    print(profile_files.user_path())


def export(options: argparse.Namespace) -> None:
    from fastdw import profile_files

    path, profile = read(None)
    profile_files.write(options.file, profile)
    print(f"{len(profile.entries)} entries of {path} copied to {options.file}")


def import_(options: argparse.Namespace) -> None:
    from fastdw import profile_files

    try:
        profile = profile_files.read_own(options.file)
    except FileNotFoundError:
        raise ValueError(f"{options.file}: no such file") from None
    own = profile_files.user_path()
    stale = [entry for entry in profile.entries.values() if not entry.is_current]
    current = [entry for entry in profile.entries.values() if entry.is_current]
    if aside := profile_files.update(own, current):
        print(aside)
    left_out = f"; {len(stale)} measured with other kernels left out" if stale else ""
    print(f"{len(current)} entries of {options.file} added to {own}{left_out}")


def merge(options: argparse.Namespace) -> None:
    from fastdw import profile_files
    from fastdw.profile import Profile, difference

    profiles = [read(file)[1] for file in options.files]
    merged = Profile(profiles[0].machine)
    for file, profile in zip(options.files, profiles, strict=True):
        if other := difference(merged.machine, profile.machine):
            raise ValueError(f"{file}: it is of another machine than {options.files[0]} ({other})")
        merged.merge(profile)
    profile_files.write(options.out, merged)
    print(f"{len(merged.entries)} entries written to {options.out}")


def diff(options: argparse.Namespace) -> None:
    from fastdw.profile import difference

    (_, one), (_, other) = read(options.one), read(options.other)
    if machines := difference(one.machine, other.machine):
        print(f"machines differ: {machines}")
    rows: list[tuple[str, ...]] = [("problem", "threads", str(options.one), str(options.other))]
    for key in {**one.entries, **other.entries}:
        plans = [str(profile.entries[key].plan) if key in profile.entries else "-" for profile in (one, other)]
        if plans[0] != plans[1]:
            rows.append((key[0], f"{key[1]}", *plans))
    if len(rows) > 1:
        print_table(rows, n_text_columns=4)
    same = sum(key in other.entries and other.entries[key].plan == entry.plan for key, entry in one.entries.items())
    print(f"{same} entries with the same plan, {len(rows) - 1} that differ")


def verify(options: argparse.Namespace) -> None:
    from fastdw import profile_files
    from fastdw.tuning.verify import faults

    path, _ = read(options.file)
    profile = profile_files.read_own(path)
    found = [*(f"damaged: {reason}" for reason in profile.dropped), *faults(profile)]
    for fault in found:
        print(fault, file=sys.stderr)
    if found:
        raise ValueError(f"{path}: {len(found)} of {len(profile.entries) + len(profile.dropped)} entries cannot be used")
    print(f"{path}: {len(profile.entries)} entries, all of them usable here and equal to the defaults in every bit")


def clear(options: argparse.Namespace) -> None:
    from fastdw import profile_files
    from fastdw.profile import Damaged

    path = profile_files.user_path()
    with suppress(FileNotFoundError, Damaged):
        profile_files.read(path)  # what is no profile, nor was one, is an error and stays
    files = [profile_files.beside(path, suffix) for suffix in ("", profile_files.TRIALS, profile_files.DAMAGED)]
    removed = [file for file in files if file.is_file()]
    for file in removed:
        file.unlink()
    print(f"deleted {', '.join(map(str, removed))}" if removed else f"{path}: there is no profile")
