"""Plots of docs/benchmarks.md, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

KINDS = ("depthwise", "pointwise", "conv", "dense")
INTENSITIES = (0.25, 256.0)  # FLOP a byte


@contextmanager
def figure(path: Path, width: float, height: float):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    with pyplot.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fastdw", "font.size": 8}):
        drawing, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
        yield axes
        drawing.savefig(path, metadata={"Date": None})
        pyplot.close(drawing)


def ratios(path: Path, of_layers: dict[str, float]) -> None:
    """A bar a layer: fastdw's time over the best peer's."""
    names, values = list(of_layers), list(of_layers.values())
    with figure(path, 6, 0.5 + 0.17 * len(names)) as axes:
        axes.barh(names, values, color=["tab:green" if value <= 1 else "tab:red" for value in values])
        axes.axvline(1, color="black", linewidth=0.8)
        axes.invert_yaxis()
        axes.set_xlabel("time of fastdw / time of the best peer")


def roofline(path: Path, ours: Sequence[dict], levels: Sequence[dict], threads: int) -> None:
    """Each layer's rate by its arithmetic intensity, under the measured multiply-add peak and the bandwidth of each level of memory."""
    peak = max(one["peak_flops"] for one in ours)
    with figure(path, 6, 3.6) as axes:
        for level in levels:
            speed = threads * level["bytes_per_second"]
            size = f"{level['n_bytes'] / 2**10:,.0f} KB" if level["n_bytes"] else "memory"
            knee = peak / speed
            axes.plot([INTENSITIES[0], knee], [1e-9 * speed * INTENSITIES[0], 1e-9 * peak], "--", linewidth=0.8, label=size)
        axes.axhline(1e-9 * peak, color="black", linewidth=0.8, label="multiply-adds")
        for kind in KINDS:
            found = [one for one in ours if one["layer"].startswith(kind)]
            axes.scatter(
                [one["flops"] / one["bytes"] for one in found], [1e-9 * one["flops"] / one["median"] for one in found], 12, label=kind
            )
        axes.set(xscale="log", yscale="log", xlabel="FLOP a byte", ylabel="GFLOP/s")
        axes.legend(ncols=2, fontsize=7)
