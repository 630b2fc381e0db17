"""What a layer costs beside its arithmetic: two chains of tiny layers, and the difference of their times by that of their lengths.

    python -m bench.networks.overhead [--contestants NAME,...] [--threads N] [--seconds S]

The layers are depthwise 3x3 and 1x1 convolutions in turns, of 8 channels on an image of 2x2: 288 and 256 multiply-adds, which take tens
of nanoseconds. What a call of a network costs by itself is in both chains.
"""

from __future__ import annotations

import argparse

import numpy as np

from bench import environment
from bench.networks.__main__ import names_of, output_of
from bench.networks.contestants import CONTESTANTS
from bench.timing import measure
from fastdw.networks.graph import INPUT
from fastdw.networks.random_graph import RandomGraph

SHORT, LONG = 10, 210


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.networks.overhead", description=__doc__.partition("\n")[0])
    parser.add_argument("--contestants", type=names_of(CONTESTANTS), default=list(CONTESTANTS), metavar="NAME,...", help="default: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args(arguments)
    facts = environment.describe()
    print(f"{facts['cpu']}, {facts['lanes']} lanes, {facts['cores']} cores, commit {facts['commit']}, {facts['date']}")
    print(f"{options.threads} thread(s); nanoseconds a layer, and microseconds of a chain of {SHORT}\n")
    graphs = {length: chain(length) for length in (SHORT, LONG)}
    x = np.random.default_rng(0).random(graphs[SHORT].input_shape, np.float32)
    calls = {}
    for name in options.contestants:
        try:
            runners = {length: CONTESTANTS[name](graph, options.threads) for length, graph in graphs.items()}
        except ImportError as error:
            print(f"{name:<14}absent: {error}")
            continue
        for length, runner in runners.items():
            output_of(runner, x)
            calls[f"{name} {length}"] = runner.call
    samples = measure(calls, options.seconds, options.threads)
    for name in options.contestants:
        if f"{name} {SHORT}" in samples:
            short, long = samples[f"{name} {SHORT}"], samples[f"{name} {LONG}"]
            minimum, median = ((getattr(long, kind) - getattr(short, kind)) / (LONG - SHORT) for kind in ("minimum", "median"))
            print(f"{name:<14}{1e9 * minimum:>8.0f} of minima{1e9 * median:>8.0f} of medians{1e6 * short.minimum:>10.2f} us")


def chain(length: int) -> RandomGraph:
    graph = RandomGraph(f"chain of {length}", 2, 0, channels=8)
    x = INPUT
    for index in range(length):
        x = graph.pointwise(f"layer{index}", x, 8) if index % 2 else graph.depthwise(f"layer{index}", x)
    graph.output = x
    return graph


if __name__ == "__main__":
    main()
