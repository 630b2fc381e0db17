"""From results to a table and a plot."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
from networks import Design, build, designs, on_fastdw
from tasks import TASKS, Task

import fastdw

BEGIN, END = "<!-- table: python docs/accuracy report -->", "<!-- end of the table -->"


def write_report(results: list[dict], page: Path) -> None:
    lines, pairs, decoupled, points = header(), paired_header(), decoupled_header(), {}
    for name, make in TASKS.items():
        task = make()
        rows = [row for row in results if row["task"] == name]
        if not rows:
            continue
        microseconds = latencies(task)
        for design in designs(task):
            accuracies = [100 * row["accuracy"] for row in rows if row["design"] == design.name]
            counted = design.cost(task)
            lines.append(table_row(task, design, counted, accuracies, microseconds[design.name]))
            points.setdefault(name, []).append((design, counted, accuracies))
        pairs += paired_rows(task, rows)
        decoupled += decoupled_rows(task, [row for row in rows if "decoupled" in row])
    text = "\n".join([*lines, "", *pairs, "", *decoupled])
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")
    plot(points, page.with_suffix(".svg"))


def header() -> list[str]:
    return [
        "| task | network | channels | parameters | multiplications | seeds | accuracy, % | worst to best, % | us an image |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]


def table_row(task: Task, design: Design, counted, accuracies: list[float], microseconds: float) -> str:
    channels = ", ".join(map(str, design.channels))
    found = f"{statistics.mean(accuracies):.2f} ± {statistics.stdev(accuracies):.2f}" if len(accuracies) > 1 else f"{accuracies[0]:.2f}"
    spread = f"{min(accuracies):.2f} to {max(accuracies):.2f}"
    numbers = f"{counted.parameters:,} | {counted.multiply_adds:,} | {len(accuracies)} | {found} | {spread} | {microseconds:.0f}"
    return f"| {task.name} | {design.name} | {channels} | {numbers} |"


def paired_header() -> list[str]:
    return [
        "| task | network | against regular, points | against separable, points |",
        "|---|---|---:|---:|",
    ]


def paired_rows(task: Task, results: list[dict]) -> list[str]:
    """Differences seed by seed: the networks of a seed share their halves of the data."""
    accuracies = {
        design.name: {row["seed"]: 100 * row["accuracy"] for row in results if row["design"] == design.name} for design in designs(task)
    }
    regular, separable = designs(task)[:2]
    rows = []
    for name, found in accuracies.items():
        against = [
            difference(np.array([found[seed] - accuracies[other.name][seed] for seed in sorted(found)])) if name != other.name else ""
            for other in (regular, separable)
        ]
        rows.append(f"| {task.name} | {name} | {' | '.join(against)} |")
    return rows


def difference(points: np.ndarray) -> str:
    """The mean, and from the worst to the best."""
    return f"{points.mean():+.2f} ({points.min():+.2f} to {points.max():+.2f})"


def decoupled_header() -> list[str]:
    return [
        "| task | terms | error of the weights | multiplications | of regular | accuracy, % | against regular, points |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]


def decoupled_rows(task: Task, results: list[dict]) -> list[str]:
    """The regular network with every convolution but the stem decoupled; nothing is trained again."""
    regular = designs(task)[0]
    whole = regular.cost(task)
    rows = []
    accuracies, errors = (100 * np.array([row[kind] for row in results]) for kind in ("decoupled", "errors"))
    for terms in range(1, accuracies.shape[1] + 1):
        share = sum(
            fastdw.cost.separable(
                part_in, part.out_shape[3], task.kernel, multiplier=terms, stride=_stride(part_in, part.out_shape)
            ).multiply_adds
            for part_in, part in zip([part.out_shape for part in whole.parts[:3]], whole.parts[1:4], strict=True)
        )
        total = whole.multiply_adds - sum(part.multiply_adds for part in whole.parts[1:4]) + share
        found = accuracies[:, terms - 1]
        loss = found - accuracies[:, -1]
        error = errors[:, terms - 1].mean() / 100
        counted = f"{total:,} | {total / whole.multiply_adds:.2f}"
        rows.append(f"| {task.name} | {terms} | {error:.3f} | {counted} | {found.mean():.2f} | {difference(loss)} |")
    return rows


def _stride(shape: tuple[int, ...], out_shape: tuple[int, ...]) -> tuple[int, int]:
    return (-(-shape[1] // out_shape[1]), -(-shape[2] // out_shape[2]))


def latencies(task: Task, turns: int = 200) -> dict[str, float]:
    """Microseconds of one image on one thread: the median, all networks taking turns."""
    runs = {design.name: on_fastdw(build(design, task).eval(), (1, *task.shape)) for design in designs(task)}
    x = task.x[:1].copy()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            run(x)
            start = time.perf_counter()
            run(x)
            seconds[name].append(time.perf_counter() - start)
    return {name: 1e6 * statistics.median(found) for name, found in seconds.items()}


def plot(points: dict[str, list], path: Path) -> None:
    """Accuracy by multiplications: the mean of the seeds, and from the worst to the best of them."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "fastdw"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(points), figsize=(10, 4), layout="constrained", squeeze=False)
    for axis, (name, found) in zip(axes[0], points.items(), strict=True):
        for design, counted, accuracies in found:
            mean = statistics.mean(accuracies)
            ends = [[mean - min(accuracies)], [max(accuracies) - mean]]
            style = {"marker": "o" if design.is_separable else "s", "color": f"C{len(axis.containers)}", "capsize": 4}
            axis.errorbar(
                counted.multiply_adds, mean, ends, linestyle="none", label=f"{design.name}, {counted.parameters:,} parameters", **style
            )
        axis.set(xscale="log", title=name, xlabel="multiplications", ylabel="accuracy on the test half, %")
        axis.legend(fontsize="small", loc="lower right")
    figure.savefig(path, metadata={"Date": None})
