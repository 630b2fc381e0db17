"""`fastdw info`: the machine as reported and as measured, and what fastdw keeps on it."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fastdw.cli.text import print_table


class Bytes(int):
    """A size: a number in JSON, with its unit in print."""

    def __str__(self) -> str:
        for unit, size in (("MB", 1 << 20), ("KB", 1 << 10)):
            if self >= size:
                return f"{self / size:.4g} {unit}"
        return f"{int(self)} bytes"


class Flops(float):
    """Floating-point operations a second: a number in JSON, with its unit in print."""

    def __str__(self) -> str:
        return f"{1e-9 * self:.1f} GFLOP/s"


def add(commands: argparse._SubParsersAction) -> None:
    text = "the machine, as reported and as measured, and what is kept on it"
    parser = commands.add_parser("info", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("--quick", action="store_true", help="measure nothing")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(command=info)


def info(options: argparse.Namespace) -> None:
    facts = {"versions": versions(), "machine": machine(), "kept": kept(), "profile": profile()}
    if not options.quick:
        facts["measured"] = measured()
    if options.json:
        print(json.dumps(facts, indent=1))
        return
    for title, values in facts.items():
        print(title)
        levels = values.pop("levels", [])
        print_table([(f"  {name}", str(value)) for name, value in values.items()], n_text_columns=2)
        if levels:
            rows = [("  blocks up to", "random read ns", "read in order GB/s")]
            rows += [
                (f"  {level['blocks_up_to']}", f"{1e9 * level['random_read_seconds']:.1f}", f"{1e-9 * level['bytes_per_second']:.1f}")
                for level in levels
            ]
            print_table(rows, n_text_columns=1)


def versions() -> dict[str, Any]:
    import platform
    from importlib import metadata

    import fastdw

    others = {name: metadata.version(name) for name in ("numba", "llvmlite", "numpy")}
    return {"fastdw": fastdw.__version__, **others, "python": platform.python_version()}


def machine() -> dict[str, Any]:
    from fastdw import thread_pool
    from fastdw.machine import core_classes, host, reported_caches

    found = host()
    classes = [
        f"{len(one.cores)} of model {one.model or 'unknown'}{f' up to {one.megahertz} MHz' if one.megahertz else ''}"
        for one in core_classes()
    ]
    caches = {f"cache level {level}": Bytes(size) for level, size in reported_caches().items()}
    return {
        "cpu": found.name,
        "architecture": found.architecture,
        "vector features": " ".join(found.vector_features),
        "vectors": f"{found.registers} registers of {found.lanes} floats; multiply-add in {'one step' if found.is_fused else 'two steps'}",
        "cores": "; ".join(classes) or "unknown",
        "threads a call may use": thread_pool.thread_limit(),
        **(caches or {"caches": "the system does not tell"}),
    }


def kept() -> dict[str, Any]:
    from fastdw import kernel_cache

    folder = kernel_cache.directory()
    files = list(folder.glob("*.kernel")) if folder else []
    return {
        "kernel cache": str(folder or "none"),
        "compiled kernels": len(files),
        "memory of the compiled code": Bytes(sum(file.stat().st_size for file in files)),
    }


def profile() -> dict[str, Any]:
    from fastdw import profile_files
    from fastdw.profile import ProfileError

    try:
        facts: dict[str, Any] = {"place": str(profile_files.user_path())}
    except ProfileError as error:
        return {"place": str(error)}
    for path, one in profile_files.in_effect():
        current = sum(entry.is_current for entry in one.entries.values())
        facts[f"in use: {path}"] = f"{current} entries" + (
            f", {len(one.entries) - current} of other kernels" * (current < len(one.entries))
        )
    return facts if len(facts) > 1 else facts | {"in use": "none: fastdw autotune makes one"}


def measured() -> dict[str, Any]:
    from fastdw import probes, thread_pool

    limit = thread_pool.thread_limit()
    rates = {f"multiply-adds, threads {count}": Flops(probes.peak_flops(count)) for count in sorted({1, limit})}
    levels = [
        {
            "blocks_up_to": Bytes(level.n_bytes) if level.n_bytes else "memory",
            "random_read_seconds": level.seconds,
            "bytes_per_second": level.bytes_per_second,
        }
        for level in probes.levels()
    ]
    return {**rates, "threading layer": thread_pool.layer_in_use() or "not used with one thread", "levels": levels}
