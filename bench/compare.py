"""fastdw beside its peers, layer by layer, interleaved in one process.

    python -m bench.compare [--kind depthwise|pointwise|conv|dense] [--network NAME] [--layers ID,...]
                            [--peers NAME,...] [--threads N] [--residency warm|cold] [--seconds S] [--unaligned] [--json FILE]

Every contestant's output is checked against a float64 answer before it is timed. Peers that are not installed, or do not serve a layer,
are listed with the reason. `warm` repeats one layer on one set of arrays. `cold` runs many copies of it in a row, on one input, with
weights and outputs that together exceed the last cache twice: weights come from memory, as in a network, and so do outputs, which is
worse than in a network that uses its buffers again. The copies are one model of the peer, so that a peer pays for its entry once in all
copies; fastdw pays in each, and finds its Python objects cold too.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from bench import environment, ours, peers, report
from bench.data import TOLERANCE, Case, largest_error, make_case, references
from bench.layers import KINDS, NETWORKS, Layer, layers
from bench.peak import Peak
from bench.timing import Samples, measure

SCHEMA = 1
COLD_CACHES = 2
MEANING = {"warm": "one layer again and again", "cold": "weights and outputs exceed the last cache twice, the input does not"}
UNALIGNED_BYTES = 16
PEAK = "peak"


def main(arguments: list[str] | None = None) -> None:
    parser = _parser()
    options = parser.parse_args(arguments)
    chosen = [layer for layer in layers(options.network, options.kind) if options.layers is None or layer.id in options.layers]
    if not chosen:
        parser.error("no layer of that network is of that kind and has one of those names")
    facts = environment.describe()
    versions = {name: peers.version(name) for name in options.peers}
    settings = {name: getattr(options, name) for name in ("threads", "residency", "seconds")} | {"meaning": MEANING[options.residency]}
    print(report.header(facts, settings, versions))

    peak = Peak(options.threads)
    results = []
    for layer in chosen:
        results.append(compare(layer, options, peak))
        print(f"\n{report.layer_table(results[-1])}", flush=True)
    print(f"\n{report.summary(results)}")
    if options.json:
        document = {"schema": SCHEMA, "environment": facts, "peers": versions, "settings": settings}
        document["layers"] = [result.as_json() for result in results]
        options.json.write_text(json.dumps(document))
    if missing := [result.layer.id for result in results if report.OURS not in result.timed]:
        raise SystemExit(f"fastdw took no part in {', '.join(missing)}")


def compare(layer: Layer, options: argparse.Namespace, peak: Peak) -> report.LayerResult:
    """Check every contestant, then time all of them together."""
    copies = 1 if options.residency == "warm" else cold_copies(layer)
    case = make_case(layer, copies)
    expected = references(case)
    runners, errors, absent = {}, {}, {}
    for name, make in _contestants(options).items():
        try:
            runner = make(layer, case.weights, case.biases, options.threads)
            errors[name] = check(runner, case, expected)
            runners[name] = runner
        except peers.Unavailable as reason:
            absent[name] = str(reason)
    del expected
    samples = measure({PEAK: peak.call} | {name: runner.call for name, runner in runners.items()}, options.seconds, options.threads)
    timed = {name: report.Timed(name, runner.form, errors[name], _of_one_copy(samples[name], copies)) for name, runner in runners.items()}
    return report.LayerResult(layer, copies, peak.flops / samples[PEAK].minimum, timed, absent)


def check(runner: peers.Runner, case: Case, expected: list[np.ndarray]) -> float:
    """The largest error over all copies. Raises Unavailable where it is too large."""
    runner.set_input(case.x)
    runner.call()
    error = max(largest_error(runner.output_nhwc(k), y) for k, y in enumerate(expected))
    if error > TOLERANCE:
        raise peers.Unavailable(f"wrong result: off by {error:.1e} of the largest value ({runner.form})")
    return error


def cold_copies(layer: Layer) -> int:
    return max(2, math.ceil(COLD_CACHES * environment.last_cache_bytes() / (layer.weight_bytes + layer.output_bytes)))


def _contestants(options: argparse.Namespace) -> dict[str, Callable[..., peers.Runner]]:
    """Functions of (layer, weights, biases, threads), by name."""
    found = {report.OURS: ours.make}
    if options.unaligned:
        found[f"{report.OURS} +{UNALIGNED_BYTES}"] = partial(ours.make, offset_bytes=UNALIGNED_BYTES)
    for name in options.peers:
        found[name] = partial(peers.make, name)
    return found


def _of_one_copy(samples: Samples, copies: int) -> Samples:
    return replace(samples, seconds=tuple(seconds / copies for seconds in samples.seconds))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__.partition("\n")[0])
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--network", choices=NETWORKS, default="mobilenet_v1")
    parser.add_argument("--layers", type=_names([layer.id for network in NETWORKS for layer in layers(network)]), metavar="ID,...")
    parser.add_argument("--peers", type=_names(peers.names()), default=peers.names(), metavar="NAME,...", help="default: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--residency", choices=MEANING, default="warm")
    parser.add_argument("--seconds", type=float, default=3.0, help="for all contestants of a layer together (default: 3)")
    parser.add_argument("--unaligned", action="store_true", help=f"fastdw also on arrays {UNALIGNED_BYTES} bytes off alignment")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample")
    return parser


def _names(known: list[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := set(chosen) - set(known):
            raise argparse.ArgumentTypeError(f"no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return chosen

    return parse


if __name__ == "__main__":
    main()
