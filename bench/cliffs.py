"""Where a problem of an unusual kind falls off: each beside plain 3x3 on the same image, interleaved in one process, one thread, warm.

    python -m bench.cliffs [--only WORD] [--seconds S]

channels: the time of 3x3 with the channels rounded up to whole vectors, over the time with these. columns: the time of a pointwise
convolution to 4 channels over that to fewer. multiplier, dilation: flops a second over those of 3x3. 2x2: bytes a second over those
of 3x3. Large filters: flops a second over the FMA peak, of the taps inside the image.
"""

from __future__ import annotations

import argparse

import numpy as np

import fastdw
from bench.data import aligned_empty
from bench.peak import Peak
from bench.timing import Call, Samples, measure
from fastdw.machine import host
from fastdw.problem import DEPTHWISE, Problem

IMAGES = ((56, 128), (14, 512))
FEW_COLUMNS = (1, 2, 3)
FEW_CHANNELS = (1, 2, 3, 17, 36, 100)
MULTIPLIERS = (2, 3, 8)
DILATIONS = (2, 4)
LARGE = ((5, 5), (7, 7), (9, 9), (11, 11), (1, 31), (31, 31))
GOALS = {"channels": 0.65, "columns": 0.65, "multiplier": 0.80, "dilation": 0.80, "2x2": 0.85, "large": 0.60}


def make(size: int, channels: int, kernel=(3, 3), dilation: int = 1, multiplier: int = 1) -> tuple[Call, Problem, str]:
    """A prepared call on arrays of its own, its problem, and the kernel that serves it."""
    rng = np.random.default_rng(0)
    x = aligned_empty((1, size, size, channels))
    x[...] = rng.standard_normal(x.shape, np.float32)
    weight = rng.standard_normal((*kernel, channels, multiplier), np.float32)
    bias = rng.standard_normal(channels * multiplier, np.float32)
    keywords = {"padding": "same", "dilation": dilation, "activation": "relu6", "threads": 1}
    layer = fastdw.prepare(fastdw.depthwise_conv2d, x.shape, weight, bias, **keywords)
    plan = fastdw.explain(fastdw.depthwise_conv2d, x, weight, bias, **keywords)
    out = aligned_empty((1, size, size, channels * multiplier))
    return lambda: layer(x, out), plan.problem, plan.id


def make_pointwise(size: int, channels: int, columns: int) -> tuple[Call, Problem, str]:
    rng = np.random.default_rng(0)
    x = aligned_empty((1, size, size, channels))
    x[...] = rng.standard_normal(x.shape, np.float32)
    weight = rng.standard_normal((channels, columns), np.float32)
    layer = fastdw.prepare(fastdw.pointwise_conv2d, x.shape, weight, threads=1)
    plan = fastdw.explain(fastdw.pointwise_conv2d, x, weight, threads=1)
    out = aligned_empty((1, size, size, columns))
    return lambda: layer(x, out), plan.problem, plan.id


def taps_inside(problem: Problem) -> int:
    """Multiplications of one channel whose input lies in the image."""

    def inside(axis: int, extent: int, outputs: int) -> int:
        first = np.arange(outputs)[:, None] * problem.stride[axis] - problem.padding[axis][0]
        position = first + np.arange(problem.kernel[axis]) * problem.dilation[axis]
        return int(((position >= 0) & (position < extent)).sum())

    return inside(0, problem.height, problem.out_height) * inside(1, problem.width, problem.out_width)


def flops(problem: Problem) -> int:
    return 2 * problem.out_channels * taps_inside(problem) * (1 if problem.kind == DEPTHWISE else problem.channels)


def problems(size: int, channels: int):
    """(what, name, the unusual call, the plain call or None)."""
    lanes = host().lanes
    for count in FEW_CHANNELS:
        yield "channels", f"{count}", make(size, count), make(size, -(-count // lanes) * lanes)
    for columns in FEW_COLUMNS:
        yield "columns", f"{columns}", make_pointwise(size, channels, columns), make_pointwise(size, channels, 4)
    plain = make(size, channels)
    yield "2x2", "2x2", make(size, channels, (2, 2)), plain
    for multiplier in MULTIPLIERS:
        yield "multiplier", f"x{multiplier}", make(size, channels, multiplier=multiplier), plain
    for dilation in DILATIONS:
        yield "dilation", f"{dilation}", make(size, channels, dilation=dilation), plain
    for kernel in LARGE:
        yield "large", f"{kernel[0]}x{kernel[1]}", make(size, channels, kernel), None


def rate(what: str, one: Problem, of_one: Samples, plain: Problem | None, of_plain: Samples | None, peak: float) -> float:
    if plain is None or of_plain is None:
        return flops(one) / of_one.minimum / peak
    work = {"channels": lambda problem: 1, "columns": lambda problem: 1, "2x2": lambda problem: problem.bytes_moved}.get(what, flops)
    return work(one) / of_one.minimum / (work(plain) / of_plain.minimum)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cliffs", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", metavar="WORD", help="only lines that contain it")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each line (0.3)")
    options = parser.parse_args()
    peak = Peak(1)
    print(f"{'image':12} {'what':10} {'':6} {'rate':>5} {'goal':>5}        {'of peak':>7}  kernel")
    for size, channels in IMAGES:
        for what, name, (call, problem, kernel), plain in problems(size, channels):
            if options.only not in f"{what} {name}":
                continue
            calls = {"peak": peak.call, "one": call} | ({"plain": plain[0]} if plain else {})
            samples = measure(calls, options.seconds)
            of_peak = peak.flops / samples["peak"].minimum
            found = rate(what, problem, samples["one"], plain and plain[1], samples.get("plain"), of_peak)
            goal = GOALS[what]
            reached = flops(problem) / samples["one"].minimum / of_peak
            verdict = "" if found >= goal else "below"
            image = f"{size}x{size}x{problem.channels}"
            print(f"{image:12} {what:10} {name:6} {found:5.2f} {goal:5.2f}  {verdict:5} {reached:7.1%}  {kernel}", flush=True)


if __name__ == "__main__":
    main()
