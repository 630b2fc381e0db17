"""How much a second thread brings: each layer's prepared call on 1 and on 2 threads, interleaved in one process.

Run it:  python -m bench.scaling [--threads N] [--mflop 20] [--seconds S]

Prints, for every layer above so many MFLOP, the time on one thread over that on N, of minima and of medians.
"""

from __future__ import annotations

import argparse
from math import prod

from bench import ours
from bench.data import make_case
from bench.layers import Layer, layers
from bench.timing import measure, warm


def speedups(layer: Layer, threads: int, seconds: float) -> tuple[float, float]:
    """Of minima and of medians."""
    case = make_case(layer)
    calls = {}
    for count in (1, threads):
        runner = ours.make(layer, case.weights, case.biases, count)
        runner.set_input(case.x)
        calls[f"{count}"] = runner.call
    warm(calls[f"{threads}"])
    samples = measure(calls, seconds, threads)
    one, many = samples["1"], samples[f"{threads}"]
    return one.minimum / many.minimum, one.median / many.median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mflop", type=float, default=20, help="layers with more work than this (20)")
    parser.add_argument("--seconds", type=float, default=2, help="for each layer (2)")
    options = parser.parse_args()
    large = [layer for layer in layers() if layer.flops > options.mflop * 1e6]
    found = []
    print(f"{'layer':36}  minima  medians   (time on 1 thread / on {options.threads})")
    for layer in large:
        found.append(speedups(layer, options.threads, options.seconds))
        print(f"{layer.id:36}  {found[-1][0]:6.2f}  {found[-1][1]:7.2f}", flush=True)
    means = [prod(values) ** (1 / len(values)) for values in zip(*found, strict=True)]
    print(f"{'geometric mean':36}  {means[0]:6.2f}  {means[1]:7.2f}")


if __name__ == "__main__":
    main()
