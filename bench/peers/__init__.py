"""Other systems, each in a file `peer_<name>.py` with one function.

    make(layer, weights, biases, threads) -> Runner

`weights` and `biases` list the copies of the layer, in fastdw's layouts: [kernel_h, kernel_w, channels, 1] for depthwise,
[kernel_h, kernel_w, in, out] for conv, [in, out] otherwise. A peer puts all copies into one model of its own, in the layout and with the
settings that suit it best. What cannot run raises Unavailable with the reason. The file also names the DISTRIBUTION it needs. Adding a
peer is adding a file.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path

import numpy as np

from bench.layers import Layer


class Unavailable(Exception):
    """Says why a peer cannot take part."""


@dataclass(frozen=True)
class Runner:
    """A layer, or several copies of it, ready to run.

    name: what the tables call it.
    form: the layout and the entry point it was given.
    call: runs every copy once, all on the same input, each into an output of its own.
    set_input: takes float32 [1, height, width, in_channels] and writes it where `call` reads.
    output_nhwc: what copy k wrote, as float32 [1, out_height, out_width, out_channels].
    """

    name: str
    form: str
    call: Callable[[], object]
    set_input: Callable[[np.ndarray], None]
    output_nhwc: Callable[[int], np.ndarray]


def names() -> list[str]:
    return sorted(path.stem.removeprefix("peer_") for path in Path(__file__).parent.glob("peer_*.py"))


def make(name: str, layer: Layer, weights: list[np.ndarray], biases: list[np.ndarray], threads: int) -> Runner:
    """The named peer's Runner. Raises Unavailable where it is not installed, or does not serve the layer."""
    try:
        module = import_module(f"bench.peers.peer_{name}")
    except ImportError as error:
        raise Unavailable(f"not installed: {error}") from error
    return module.make(layer, weights, biases, threads)


def version(name: str) -> str | None:
    """The version of the named peer, or None where it is not installed."""
    try:
        return metadata.version(import_module(f"bench.peers.peer_{name}").DISTRIBUTION)
    except (ImportError, metadata.PackageNotFoundError):
        return None


def nchw(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def nhwc(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def weight_oihw(layer: Layer, weight: np.ndarray) -> np.ndarray:
    """[out, in of the group, kernel_h, kernel_w], as ONNX, ncnn and PyTorch want it."""
    if layer.kind == "depthwise":
        return np.ascontiguousarray(weight.transpose(2, 3, 0, 1)).reshape(layer.out_channels, 1, layer.kernel, layer.kernel)
    return np.ascontiguousarray(weight.reshape(layer.kernel, layer.kernel, layer.in_channels, layer.out_channels).transpose(3, 2, 0, 1))


def fastest(runners: list[Runner], seconds_each: float = 0.1) -> Runner:
    """For a peer with several forms of a layer: the one whose quickest call is the quickest."""

    def quickest(runner: Runner) -> float:
        end = time.perf_counter() + seconds_each
        best = float("inf")
        while (start := time.perf_counter()) < end:
            runner.call()
            best = min(best, time.perf_counter() - start)
        return best

    return min(runners, key=quickest)
