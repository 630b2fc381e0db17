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
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    from fastdw.networks import Network, load_graph, load_labels, load_photo

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

    print_layers(network, x, options.repeat)
    print()
    print(f"{network.name}: {by(network.input_shape)} to {by(network.output_shape)}, first result after {ready_seconds:.2f} s")
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


def print_layers(network: Network, x: np.ndarray, repeat: int) -> None:
    """A row for each layer: its median and minimum time over the runs."""
    profiles = [[seconds for _, seconds in network.profile(x)] for _ in range(repeat)]
    rows = [("layer", "kind", "output", "M mult-adds", "median ms", "min ms", "GFLOP/s")]
    for layer, *seconds in zip(network.layers, *profiles, strict=True):
        rate = f"{2e-9 * layer.multiply_adds / median(seconds):.1f}" if layer.multiply_adds else ""
        rows.append((layer.name, layer.kind, by(layer.output_shape), *row_numbers(layer.multiply_adds, seconds), rate))
    totals = [sum(profile) for profile in profiles]
    rows.append(("all layers", "", "", *row_numbers(network.multiply_adds, totals), f"{2e-9 * network.multiply_adds / median(totals):.1f}"))
    print_table(rows, n_text_columns=3)


def row_numbers(multiply_adds: int, seconds: Sequence[float]) -> tuple[str, str, str]:
    return f"{1e-6 * multiply_adds:.2f}" if multiply_adds else "", f"{1e3 * median(seconds):.3f}", f"{1e3 * min(seconds):.3f}"


def print_times(what: str, seconds: Sequence[float]) -> None:
    print(f"{what}: median {1e3 * median(seconds):.3f} ms, minimum {1e3 * min(seconds):.3f} ms, of {len(seconds)}")


def print_scores(y: np.ndarray, labels: list[str], top: int, what: str) -> None:
    if y.size != y.shape[-1]:
        print(f"{what}: the output {by(y.shape)} is no list of classes")
        return
    print(f"{what}:")
    scores = y.reshape(-1)
    print_table([(f"{scores[index]:.4f}", labels[index]) for index in np.argsort(-scores, kind="stable")[:top]], n_text_columns=2)
