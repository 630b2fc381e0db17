"""What activations cost: layers of MobileNetV3 and EfficientNet by prepared call, each activation against relu6, interleaved.

Run it:  python -m bench.activations [--seconds S] [--threads N] [--only silu,hard_swish]

Prints, for every layer, the microseconds with relu6 and the time with each activation over that, of minima / of medians.
"""

from __future__ import annotations

import argparse
from math import prod

import fastdw
from bench.data import aligned_empty, make_case
from bench.layers import Layer
from bench.timing import Ratio, measure, ratio

BASE = "relu6"
LAYERS = [
    *(Layer("pointwise", size, size, *channels) for size, channels in ((112, (16, 64)), (56, (24, 144)), (28, (40, 240)))),
    *(
        Layer("pointwise", size, size, *channels)
        for size, channels in ((14, (80, 480)), (14, (112, 672)), (7, (160, 960)), (7, (192, 1152)))
    ),
    *(Layer("depthwise", 112, 112, 32, 32, 3), Layer("depthwise", 56, 56, 144, 144, 3), Layer("depthwise", 28, 28, 240, 240, 5)),
    *(Layer("depthwise", 14, 14, 480, 480, 3), Layer("depthwise", 14, 14, 672, 672, 5), Layer("depthwise", 7, 7, 960, 960, 5)),
]


def ratios(layer: Layer, names: list[str], seconds: float, threads: int) -> tuple[float, dict[str, Ratio]]:
    """The least seconds with relu6, and each of the others against it."""
    case = make_case(layer)
    out = aligned_empty(layer.out_shape)
    keywords: dict = {"threads": threads}
    if layer.kind == "depthwise":
        keywords |= {"padding": "same", "stride": layer.stride}
    function = getattr(fastdw, f"{layer.kind}_conv2d")
    calls = {}
    for name in [BASE, *names]:
        prepared = fastdw.prepare(function, layer.in_shape, case.weights[0], case.biases[0], activation=name, **keywords)
        calls[name] = lambda prepared=prepared: prepared(case.x, out)
    samples = measure(calls, seconds, threads)
    return samples[BASE].minimum, {name: ratio(samples[name], samples[BASE]) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="hard_swish,silu,gelu")
    parser.add_argument("--seconds", type=float, default=2, help="for each layer (2)")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    names = options.only.split(",")
    print(f"{'layer':28}  {BASE + ', us':>9}" + "".join(f"  {name:>12}" for name in names))
    found: dict[str, list[Ratio]] = {name: [] for name in names}
    for layer in LAYERS:
        base, against = ratios(layer, names, options.seconds, options.threads)
        for name in names:
            found[name].append(against[name])
        shown = (f"{against[name].of_minima:.2f} / {against[name].of_medians:.2f}" for name in names)
        print(f"{layer.id:28}  {1e6 * base:9.1f}" + "".join(f"  {text:>12}" for text in shown), flush=True)
    for kind in ("pointwise", "depthwise"):
        at = [i for i, layer in enumerate(LAYERS) if layer.kind == kind]
        means = (prod(found[name][i].of_minima for i in at) ** (1 / len(at)) for name in names)
        print(f"{kind + ', geometric mean':39}" + "".join(f"  {mean:5.2f}       " for mean in means))


if __name__ == "__main__":
    main()
