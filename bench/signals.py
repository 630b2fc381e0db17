"""Depthwise convolutions of signals beside the peers, interleaved in one process.

    python -m bench.signals [--layers NAME,...] [--threads N] [--seconds S]

Each peer is given every form that suits it, as 1-D and as an image of one row, and its fastest is kept. ONNX Runtime, OpenVINO and
PyTorch hold their weights and run their own optimised layouts; PyTorch is given its fused convolution on reordered weights too.
Every output is checked against float64 before anything is timed. The last lines are fastdw's own: the same signal in pieces.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import fastdw
from bench import environment, signal_peers
from bench.data import TOLERANCE, aligned_copy, aligned_empty, largest_error
from bench.peers import Runner, Unavailable, fastest
from bench.timing import Samples, measure, ratio


@dataclass(frozen=True)
class Layer:
    """One signal [1, length, channels], with a bias and no activation."""

    name: str
    length: int
    channels: int
    taps: int
    causal: bool

    @property
    def sides(self) -> tuple[int, int]:
        return (self.taps - 1, 0) if self.causal else ((self.taps - 1) // 2, self.taps // 2)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (1, self.length, self.channels)

    @property
    def flops(self) -> int:
        return 2 * self.length * self.channels * self.taps


LAYERS = (
    Layer("conformer", 300, 256, 31, causal=False),
    Layer("conformer_causal", 300, 256, 31, causal=True),
    Layer("mamba", 512, 1536, 4, causal=True),
    Layer("wavenet_like", 4096, 64, 9, causal=True),
)


@dataclass(frozen=True)
class Case:
    layer: Layer
    x: np.ndarray  # [1, length, channels]
    weight: np.ndarray  # [taps, channels]
    bias: np.ndarray
    expected: np.ndarray

    @property
    def weight_1d(self) -> np.ndarray:
        """[channels, 1, taps], as ONNX and PyTorch want it."""
        return np.ascontiguousarray(self.weight.T[:, np.newaxis])


def make_case(layer: Layer, seed: int = 0) -> Case:
    rng = np.random.default_rng(seed)
    x, weight, bias = (
        aligned_copy(rng.standard_normal(shape, np.float32)) for shape in (layer.shape, (layer.taps, layer.channels), layer.channels)
    )
    padded = np.pad(x.astype(np.float64), ((0, 0), layer.sides, (0, 0)))
    expected = sum(padded[:, p : p + layer.length] * weight[p] for p in range(layer.taps)) + bias
    return Case(layer, x, weight, bias, expected)


def ours(case: Case, threads: int) -> Runner:
    padding = "causal" if case.layer.causal else "same"
    layer = fastdw.prepare(fastdw.depthwise_conv1d, case.layer.shape, case.weight, case.bias, padding=padding, threads=threads)
    out = aligned_empty(case.layer.shape)
    return Runner("fastdw", "NLC", lambda: layer(case.x, out), lambda x: None, lambda k: out)


def in_pieces(case: Case, piece: int, threads: int) -> Callable[[], object]:
    """The whole signal, piece by piece."""
    stream = fastdw.stream(fastdw.depthwise_conv1d, case.weight, case.bias, threads=threads)
    out = aligned_empty(case.layer.shape)
    pieces = [(case.x[:, first : first + piece], out[:, first : first + piece]) for first in range(0, case.layer.length, piece)]

    def call() -> None:
        for x, y in pieces:
            stream(x, y)

    return call


def compare(layer: Layer, options: argparse.Namespace) -> None:
    case = make_case(layer)
    runners, absent = {"fastdw": ours(case, options.threads)}, []
    for name in options.peers:
        try:
            runners[name] = fastest([checked(form, case) for form in signal_peers.FORMS[name](case, options.threads)])
        except (ImportError, Unavailable) as reason:
            absent.append(f"  {name} took no part: {reason}")
    checked(runners["fastdw"], case)
    calls = {name: runner.call for name, runner in runners.items()}
    steps = {f"fastdw, pieces of {piece}": in_pieces(case, piece, options.threads) for piece in options.pieces if layer.causal}
    samples = measure(calls | steps, options.seconds, options.threads)
    print_layer(layer, {name: runner.form for name, runner in runners.items()}, samples)
    print("\n".join(absent), end="\n" if absent else "")


def checked(runner: Runner, case: Case) -> Runner:
    runner.call()
    found = largest_error(np.asarray(runner.output_nhwc(0)).reshape(case.layer.shape), case.expected)
    if found > TOLERANCE:
        raise Unavailable(f"wrong result: off by {found:.1e} of the largest value ({runner.form})")
    return runner


def print_layer(layer: Layer, forms: dict[str, str], samples: dict[str, Samples]) -> None:
    print(f"\n{layer.name}: length {layer.length}, {layer.channels} channels, {layer.taps} taps{', causal' * layer.causal}")
    print(f"  {'':<24}{'min us':>9}{'median us':>11}{'fastdw / it':>13}{'deciles':>14}{'GFLOP/s':>9}  form")
    for name, found in samples.items():
        against = ratio(samples["fastdw"], found)
        standing = f"{against.of_minima:>13.2f}{against.low:>8.2f}-{against.high:.2f}"
        times = f"{1e6 * found.minimum:>9.1f}{1e6 * found.median:>11.1f}"
        print(f"  {name:<24}{times}{standing}{1e-9 * layer.flops / found.minimum:>10.0f}  {forms.get(name, '')}")
    rivals = [found for name, found in samples.items() if not name.startswith("fastdw")]
    if rivals:
        ours = samples["fastdw"]
        minima, medians = (getattr(ours, kind) / min(getattr(rival, kind) for rival in rivals) for kind in ("minimum", "median"))
        print(f"  fastdw / best peer: {minima:.2f} of minima, {medians:.2f} of medians")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.signals", description=__doc__.partition("\n")[0])
    parser.add_argument("--layers", type=lambda text: text.split(","), default=[layer.name for layer in LAYERS], metavar="NAME,...")
    parser.add_argument("--peers", type=lambda text: text.split(","), default=["torch", "onnxruntime", "openvino"], metavar="NAME,...")
    parser.add_argument("--pieces", type=int, nargs="*", default=[1, 32], metavar="N", help="lengths of pieces to stream (1 32)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0, help="for all contestants of a layer together (default: 3)")
    options = parser.parse_args(arguments)
    chosen = [layer for layer in LAYERS if layer.name in options.layers]
    if not chosen:
        parser.error(f"no such layer; there are {', '.join(layer.name for layer in LAYERS)}")
    print(", ".join(f"{name} {fact}" for name, fact in environment.describe().items()))
    print(f"threads {options.threads}, warm, aligned")
    for layer in chosen:
        compare(layer, options)


if __name__ == "__main__":
    main()
