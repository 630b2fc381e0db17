"""docs/benchmarks.md and its plots, from what the pytest-benchmark suites and bench.tuning wrote as JSON.

    python -m bench.page FILE.json ... [--out docs/benchmarks.md]

Files of one suite are shown as one; each section stands under the commands that made its files.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import geometric_mean

from bench import plots
from bench.networks import memory
from bench.report import OURS

Row = Sequence[str]
FOLDERS = r"(?<=[= ,])/[^ ,]*/"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Made by `python -m bench.page`. Times are medians of samples taken in turns in one process; a ratio is fastdw's time over the best
other's, so less than 1 means that fastdw is quicker. Slower results stand here like faster ones.
Where the ratios of medians and of minima disagree, other programs ran beside. How each suite measures is said at its top.
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.json")
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args(arguments)
    documents = [json.loads(file.read_text()) for file in options.files]
    parts = [HEAD]
    for suite, (title, section) in SECTIONS.items():
        if mine := [document for document in documents if suite_of(document) == suite]:
            parts.append(f"\n## {title}\n\n{origin(mine)}\n{section(mine, options.out.parent)}")
    options.out.write_text("".join(parts))


def suite_of(document: dict) -> str:
    """The file of the suite, or what bench.tuning was asked for."""
    return document.get("suite") or Path(document["benchmarks"][0]["fullname"].partition("::")[0]).stem


def origin(documents: list[dict]) -> str:
    """The commands, each with its commit and date, and the machines."""
    facts = [document["machine_info"] for document in documents]
    where = dict.fromkeys(f"{one['cpu']}, {one['lanes']} lanes, {one['cores']} cores" for one in facts)
    commands = "\n".join(
        dict.fromkeys(
            f"{re.sub(FOLDERS, '', document['command'])}  # commit {one['commit']}, {one['date'][:10]}"
            for document, one in zip(documents, facts, strict=True)
        )
    )
    versions = {name: version for one in facts for name, version in (one["versions"] | one.get("peers", {})).items() if version}
    return f"```sh\n{commands}\n```\n\n{'; '.join(where)}; {', '.join(map(' '.join, versions.items()))}.\n"


def table(rows: Iterable[Row]) -> str:
    head, *rest = rows
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rest]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def entries(documents: list[dict]) -> list[dict]:
    """Each benchmark's facts with its median and minimum."""
    found = [one for document in documents for one in document["benchmarks"]]
    return [one["extra_info"] | {"median": one["stats"]["median"], "min": one["stats"]["min"], "group": one["group"]} for one in found]


def by(entries: Iterable[dict], *names: str) -> dict[tuple, list[dict]]:
    groups: dict[tuple, list[dict]] = {}
    for entry in entries:
        groups.setdefault(tuple(entry[name] for name in names), []).append(entry)
    return groups


def times(group: list[dict], kind: str = "median") -> dict[str, float]:
    return {one["contestant"]: one[kind] for one in group}


def best_other(found: dict[str, float]) -> tuple[str, float]:
    others = {name: seconds for name, seconds in found.items() if not name.startswith(OURS)}
    return min(others.items(), key=lambda item: item[1])


# ---- sections ----
def beside(groups: dict[str, list[dict]], scale: float, first: str, more: dict[str, str] | None = None) -> str:
    """A table of contestants' times with the ratios to the best other, and their geometric means."""
    names = list(dict.fromkeys(one["contestant"] for group in groups.values() for one in group))
    lines: list[Row] = [[first, *names, "ratio", "of minima", *(["% peak"] if more else [])]]
    ratios = []
    for title, group in groups.items():
        found, minima = times(group), times(group, "min")
        best, seconds = best_other(found)
        ratios.append((found[OURS] / seconds, minima[OURS] / best_other(minima)[1]))
        cells = [f"{scale * found[name]:.4g}" if name in found else "" for name in names]
        lines.append([title, *cells, f"{ratios[-1][0]:.2f} {best}", f"{ratios[-1][1]:.2f}", *([more[title]] if more else [])])
    means = [f"{geometric_mean(kind):.3f}" for kind in zip(*ratios, strict=True)]
    lines.append(["geometric mean", *[""] * len(names), *means, *([""] if more else [])])
    return table(lines)


def peers(documents: list[dict], folder: Path) -> str:
    parts = []
    for (residency, threads), group in by(entries(documents), "residency", "threads").items():
        layers = by(group, "layer")
        rows = {layer: found for (layer,), found in layers.items()}
        ours = {layer: next(one for one in found if one["contestant"] == OURS) for (layer,), found in layers.items()}
        share = {layer: f"{100 * one['flops'] / one['median'] / one['peak_flops']:.0f}" for layer, one in ours.items()}
        parts.append(f"### {residency}, threads {threads}, microseconds\n\n{beside(rows, 1e6, 'layer', share)}")
        name = f"benchmarks-{residency}-{threads}"
        plots.ratios(
            folder / f"{name}-peers.svg", {layer: times(found)[OURS] / best_other(times(found))[1] for layer, found in rows.items()}
        )
        levels = documents[0]["machine_info"]["levels"]
        plots.roofline(folder / f"{name}-roofline.svg", list(ours.values()), levels, threads)
        parts.append(f"\n![time against the best peer]({name}-peers.svg)\n![roofline]({name}-roofline.svg)\n\n")
    return "".join(parts).rstrip("\n") + "\n"


def networks(documents: list[dict], folder: Path) -> str:
    groups = by(entries(documents), "network", "threads")
    rows = {f"{network}, threads {threads}": found for (network, threads), found in groups.items()}
    return f"Milliseconds of a whole network with the same random weights.\n\n{beside(rows, 1e3, 'network')}"


def kernels(documents: list[dict], folder: Path) -> str:
    lines: list[Row] = [["layer", "tiles", "pick", "us", "best", "us", "pick / best"]]
    ratios = []
    for (layer, residency), found in by(entries(documents), "layer", "residency").items():
        pick = next(one for one in found if one["is_pick"])
        best = min(found, key=lambda one: one["median"])
        ratios.append(pick["median"] / best["median"])
        ends = [f"{1e6 * pick['median']:.4g}", best["plan"], f"{1e6 * best['median']:.4g}", f"{ratios[-1]:.3f}"]
        lines.append([f"{layer}, {residency}", f"{len(found)}", pick["plan"], *ends])
    lines.append(["geometric mean", *[""] * 5, f"{geometric_mean(ratios):.3f}"])
    return f"The planner's pick among all tiles of all kernels: the least of many noisy medians favours the best.\n\n{table(lines)}"


def calls(documents: list[dict], folder: Path) -> str:
    lines: list[Row] = [["layer and way", "call, ns", "above its launch, ns"]]
    for document in documents:
        for one in sorted(document["benchmarks"], key=lambda one: str(one["group"])):
            if above := one["extra_info"].get("above_launch_seconds"):
                title = f"{one['group']}, {one['params']['way']}"
                lines.append([title, f"{1e9 * one['stats']['median']:.0f}", f"{1e9 * max(0.0, above):.0f}"])
    return f"Layers so small that the kernel takes next to nothing.\n\n{table(lines)}"


def cold_start(documents: list[dict], folder: Path) -> str:
    lines: list[Row] = [["fresh process", "median ms", "least ms", "compilations", "peak MB"]]
    for one in entries(documents):
        memory = f"{one['peak_bytes'] / 2**20:.0f}"
        lines.append([one["what"], f"{1e3 * one['median']:.0f}", f"{1e3 * one['min']:.0f}", f"{one['compilations']}", memory])
    return f"{table(lines)}"


def memory_of_networks(documents: list[dict], folder: Path) -> str:
    rows = [[one["network"], *memory.cells(one)] for document in documents for one in document["networks"]]
    return (
        "Memory between layers (LiteRT's: its arena, without XNNPACK, with its copy of the input, which fastdw reads where it lies), "
        "the most memory that a process on one thread had, and the time from its start to the first result, fastdw's kernels in its cache."
        f"\n\n{table([['network', *memory.COLUMNS], *rows])}"
    )


def verify(documents: list[dict], folder: Path) -> str:
    names = ("profile", "residency", "threads", "layers", "tuned")
    lines: list[Row] = [[*names, "gain, geometric mean", "least gain", "noise, median", "noise, largest", "slower"]]
    for document in documents:
        for one in document["profiles"]:
            numbers = [f"{one[name]:.3f}" for name in ("gain", "least")]
            noises = [f"{100 * one[name]:.1f} %" for name in ("noise", "largest_noise")]
            lines.append([*(f"{one[name]}" for name in names), *numbers, *noises, f"{len(one['slower'])}"])
    return (
        "Every layer that got another plan than its default, measured again beside it, in turns; the others count as 1. Noise: how far the "
        "default is from itself, measured likewise. Slower: by more than that in the same samples, and by more than 1 %, twice.\n\n"
        f"{table(lines)}"
    )


def regret(documents: list[dict], folder: Path) -> str:
    lines: list[Row] = [["layer", "residency", "threads", "plans", "measured", "gain", "best gain", "regret"]]
    for document in documents:
        for one in document["layers"]:
            facts = [one["layer"], document["residency"], f"{document['threads']}", f"{one['plans']}", f"{one['trials']}"]
            lines.append([*facts, *(f"{one[name]:.3f}" for name in ("gain", "best", "regret"))])
    regrets = [one["regret"] for document in documents for one in document["layers"]]
    lines.append(["geometric mean", *[""] * 6, f"{geometric_mean(regrets):.3f}"])
    return (
        "The time of the tuner's plan relative to that of the best of all plans of the same space, in turns, after an exhaustive search; "
        f"less than 1 is noise. A plan counts as measured each time that the tuner looks at it.\n\n{table(lines)}"
    )


SECTIONS: dict[str, tuple[str, Callable[[list[dict], Path], str]]] = {
    "test_networks": ("Whole networks", networks),
    "test_peers": ("Layers of MobileNetV1 beside the peers", peers),
    "test_kernels": ("Kernels", kernels),
    "test_calls": ("Calls", calls),
    "test_cold_start": ("Cold start and memory", cold_start),
    "memory": ("Networks: memory and start beside LiteRT", memory_of_networks),
    "verify": ("Tuned layers, measured again", verify),
    "regret": ("Regret", regret),
}

if __name__ == "__main__":
    main()
