"""`fastdw run`: a network, timed layer by layer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from fastdw.cli.text import by, count, print_table

if TYPE_CHECKING:
    from fastdw.networks import Network


def add(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("run", help="run a network and time its layers", description="Run a network and time its layers.")
    parser.add_argument(
        "model", nargs="?", default="mobilenet_v1", help="a .tflite or .onnx file, or an architecture with random weights (mobilenet_v1)"
    )
    parser.add_argument("--image", type=Path, metavar="PHOTO", help="what to run it on; without, random numbers")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="names of the classes, one a line")
    parser.add_argument(
        "--pixels", type=float, nargs=2, default=(0.0, 1.0), metavar=("BLACK", "WHITE"), help="what a float model takes (0 1)"
    )
    parser.add_argument("--threads", type=count, metavar="N", help="threads a layer may use")
    parser.add_argument("--top", type=count, default=5, metavar="N", help="how many classes to print (5)")
    parser.add_argument("--repeat", type=count, default=10, metavar="N", help="how many runs to time (10)")
    parser.add_argument("--profile-layers", action="store_true", help="more about each layer: its kernel and its share of the roofline")
    parser.add_argument("--compare", choices=("litert",), help="run the same .tflite file there, in turns")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    from fastdw.networks import Network, load_graph, load_labels, load_photo

    if options.compare and not options.model.endswith(".tflite"):
        raise ValueError(f"--compare: got {options.model!r}; expected a .tflite file, which LiteRT can read too")
    start = perf_counter()
    network = Network(load_graph(options.model), threads=options.threads)
    n_classes = network.output_shape[-1]
    labels = load_labels(options.labels, n_classes) if options.labels else [f"class {index}" for index in range(n_classes)]
    if options.image:
        x = load_photo(options.image, network.input_shape, network.quantization, pixel_range=tuple(options.pixels))
    else:
        x = np.random.default_rng(0).random(network.input_shape, np.float32)
    y = network(x)
    ready_seconds = perf_counter() - start

    if options.profile_layers:
        print_profile(network, x, options.repeat, options.threads)
    else:
        print_layers(network, x, options.repeat)
    print()
    print(f"{network.name}: {by(network.input_shape)} to {by(network.output_shape)}, first result after {ready_seconds:.2f} s")
    print(f"memory between layers: {network.scratch_bytes:,} bytes")
    if options.compare:
        print_comparison(network, options, x, y)
    else:
        print_times("a run", time_runs(network, x, y.copy(), options.repeat))
    print()
    print_scores(y, labels, options.top, str(options.image or "random numbers"))


def time_runs(network: Network, x: np.ndarray, out: np.ndarray, repeat: int) -> list[float]:
    seconds = []
    for _ in range(repeat):
        start = perf_counter()
        network(x, out)
        seconds.append(perf_counter() - start)
    return seconds


def profiles(network: Network, x: np.ndarray, repeat: int) -> list[list[float]]:
    """The seconds of each layer, and last of all layers together, run by run."""
    runs = [[seconds for _, seconds in network.profile(x)] for _ in range(repeat)]
    return [list(seconds) for seconds in zip(*([*run, sum(run)] for run in runs), strict=True)]


def print_layers(network: Network, x: np.ndarray, repeat: int) -> None:
    """A row for each layer: its median and minimum time over the runs."""
    *of_layers, of_all = profiles(network, x, repeat)
    rows = [("layer", "kind", "output", "M mult-adds", "median ms", "min ms", "GFLOP/s")]
    for layer, seconds in zip(network.layers, of_layers, strict=True):
        rows.append((layer.name, layer.kind, by(layer.output_shape), *row_numbers(layer.multiply_adds, seconds)))
    rows.append(("all layers", "", "", *row_numbers(network.multiply_adds, of_all)))
    print_table(rows, n_text_columns=3)


def print_profile(network: Network, x: np.ndarray, repeat: int, threads: int | None) -> None:
    """A row for each layer with its kernel and its share of the roofline: the least time that this machine allows over the time taken."""
    from fastdw.limits import usable_cores
    from fastdw.roof import measure_roof

    roof = measure_roof(threads or usable_cores())
    *of_layers, of_all = profiles(network, x, repeat)
    least = [max(2 * each.multiply_adds / roof.flops_per_second, each.bytes_moved / roof.bytes_per_second) for each in network.layers]
    rows = [("layer", "output", "kernel", "M mult-adds", "median ms", "min ms", "GFLOP/s", "% roof")]
    for layer, seconds, bound in zip(network.layers, of_layers, least, strict=True):
        kernel = layer.kernel or f"NumPy {layer.kind}"
        rows.append(
            (layer.name, by(layer.output_shape), kernel, *row_numbers(layer.multiply_adds, seconds), f"{100 * bound / min(seconds):.0f}")
        )
    share = f"{100 * sum(least) / min(of_all):.0f}"
    rows.append(("all layers", "", "", *row_numbers(network.multiply_adds, of_all), share))
    print_table(rows, n_text_columns=3)
    print(f"roof: {1e-9 * roof.flops_per_second:.0f} GFLOP/s, {1e-9 * roof.bytes_per_second:.0f} GB/s in the second-level cache")


def print_comparison(network: Network, options: argparse.Namespace, x: np.ndarray, y: np.ndarray) -> None:
    """Runs here and in LiteRT in turns, and how far the results lie apart."""
    from fastdw.cli.litert import LiteRT

    peer, out = LiteRT(options.model, options.threads), y.copy()
    peer.set_input(x)
    ours, theirs = [], []
    for _ in range(options.repeat):
        ours += time_runs(network, x, out, 1)
        theirs.append(peer.run_seconds())
    print_times("a run", ours)
    print_times(f"a run in {peer.name}", theirs)
    print(f"fastdw / LiteRT: {median(ours) / median(theirs):.3f} of medians, {min(ours) / min(theirs):.3f} of minima")
    print(f"largest difference {np.abs(peer.output() - y).max():.1e}, largest value {np.abs(y).max():.1e}")


def row_numbers(multiply_adds: int, seconds: Sequence[float]) -> tuple[str, str, str, str]:
    times = f"{1e3 * median(seconds):.3f}", f"{1e3 * min(seconds):.3f}"
    return f"{1e-6 * multiply_adds:.2f}" if multiply_adds else "", *times, rate(multiply_adds, median(seconds))


def rate(multiply_adds: int, seconds: float) -> str:
    return f"{2e-9 * multiply_adds / seconds:.1f}" if multiply_adds else ""


def print_times(what: str, seconds: Sequence[float]) -> None:
    print(f"{what}: median {1e3 * median(seconds):.3f} ms, minimum {1e3 * min(seconds):.3f} ms, of {len(seconds)}")


def print_scores(y: np.ndarray, labels: list[str], top: int, what: str) -> None:
    if y.size != y.shape[-1]:
        print(f"{what}: the output {by(y.shape)} is no list of classes")
        return
    print(f"{what}:")
    scores = y.reshape(-1)
    print_table([(f"{scores[index]:.4f}", labels[index]) for index in np.argsort(-scores, kind="stable")[:top]], n_text_columns=2)
