"""`fastdw decouple`: the regular convolutions of a network as sums of depthwise-separable ones: error, multiplications, time."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from fastdw.cli.text import by, count, print_table

if TYPE_CHECKING:
    from fastdw.networks.graph import Graph
    from fastdw.networks.layers import Conv2D


def add(commands: argparse._SubParsersAction) -> None:
    description = "Each regular convolution of a network as a sum of depthwise-separable terms, beside the regular one."
    parser = commands.add_parser("decouple", help="regular convolutions as separable ones", description=description)
    parser.add_argument("model", help="a .tflite or .onnx file, or an architecture with random weights, as mobilenet_v1")
    how = parser.add_mutually_exclusive_group()
    help_terms = "how many terms, one or several numbers, of each layer at most as many as make it exact; without: every number"
    how.add_argument("--terms", type=count, nargs="+", metavar="N", help=help_terms)
    how.add_argument("--error", type=float, metavar="E", help="the least number of terms with at most this error, as 0.1")
    parser.add_argument("--threads", type=count, metavar="N", help="threads a layer may use")
    parser.add_argument("--repeat", type=count, default=20, metavar="N", help="how many calls to time (20)")
    parser.set_defaults(command=decouple)


def decouple(options: argparse.Namespace) -> None:
    from fastdw.decoupling import most_terms
    from fastdw.networks import load_graph
    from fastdw.networks.layers import Conv2D

    graph = load_graph(options.model)
    layers = [layer for layer in graph.layers if type(layer) is Conv2D and layer.kernel != (1, 1)]
    if not layers:
        raise ValueError(
            f"model: got {options.model}, which has no regular convolution of more than one tap; expected one with such layers"
        )
    most = max(most_terms(layer.weight.shape) for layer in layers)
    if options.terms and max(options.terms) > most:
        raise ValueError(f"terms: got {max(options.terms)}; expected at most {most}, which make every layer exact")
    rows: list[Sequence[str]] = [
        ("layer", "input", "weight", "terms", "error", "mult-adds", "of regular", "regular us", "decoupled us", "of regular")
    ]
    ends = []
    for layer in layers:
        found, end = layer_rows(graph, layer, options)
        rows += found
        ends.append(end)
    print_table(rows, n_text_columns=3)
    print()
    print("\n".join(ends))


def layer_rows(graph: Graph, layer: Conv2D, options: argparse.Namespace) -> tuple[list[Sequence[str]], str]:
    """A row for each number of terms, and a line on where the break-even lies."""
    import fastdw
    from fastdw.decoupling import most_terms

    shape = graph.input_shapes(layer)[0]
    most = most_terms(layer.weight.shape)
    wanted = [None] if options.error is not None else sorted({min(terms, most) for terms in options.terms or range(1, most + 1)})
    keywords = {**layer.geometry, "activation": layer.activation, "threads": options.threads}
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    regular = fastdw.prepare(fastdw.conv2d, shape, layer.weight, layer.bias, **keywords)
    rows: list[Sequence[str]] = []
    quicker = []
    for terms in wanted:
        parts = fastdw.decouple(layer.weight, terms, options.error)
        decoupled = fastdw.prepare(fastdw.separable_conv2d, shape, parts.depthwise, parts.pointwise, None, layer.bias, **keywords)
        cost = parts.cost(shape, **layer.geometry).multiply_adds
        share = cost / layer.multiply_adds(shape)
        old, new = interleaved([partial(regular, x), partial(decoupled, x)], options.repeat)
        sizes = (layer.name, by(shape), by(layer.weight.shape), str(parts.terms), f"{parts.error:.4f}", f"{cost:,}", f"{share:.2f}")
        rows.append((*sizes, f"{1e6 * old:.1f}", f"{1e6 * new:.1f}", f"{new / old:.2f}"))
        if new < old:
            quicker.append(parts.terms)
    counted = f"fewer multiplications below {parts.break_even:.2f} terms"
    timed = f"quicker with {', '.join(map(str, quicker))} of those timed" if quicker else "not quicker with any number of terms timed"
    return rows, f"{layer.name}: {counted}; {timed}"


def interleaved(calls: list[Callable[[], object]], repeat: int) -> list[float]:
    """The median seconds of each, taking turns; the first turn does not count."""
    seconds: list[list[float]] = [[] for _ in calls]
    for turn in range(repeat + 1):
        for call, found in zip(calls, seconds, strict=True):
            start = perf_counter()
            call()
            if turn:
                found.append(perf_counter() - start)
    return [median(found) for found in seconds]
