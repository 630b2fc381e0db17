"""fastdw's networks beside LiteRT, ONNX Runtime and OpenVINO, with the same random weights, interleaved in one process.

    python -m bench.networks [--networks NAME,...] [--contestants NAME,...] [--threads N] [--seconds S] [--json FILE]

Every contestant's output is compared with LiteRT's (with fastdw's where LiteRT takes no part) before it is timed; what is not installed
is listed with the reason. Ratios are fastdw's time over that of the quickest of the others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bench import environment
from bench.data import largest_error
from bench.networks.contestants import CONTESTANTS
from bench.peers import Runner
from bench.timing import Samples, measure
from fastdw.networks import ARCHITECTURES

OURS, REFERENCE = "fastdw", "litert"
TOLERANCE = 1e-4


def main(arguments: list[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    facts = environment.describe()
    print(f"{facts['cpu']}, {facts['lanes']} lanes, {facts['cores']} cores, commit {facts['commit']}, {facts['date']}")
    print(f"{options.threads} thread(s), {options.seconds:g} s a network, milliseconds; ratios are fastdw / the quickest other")
    documents = []
    for name in options.networks:
        documents.append(compare(name, options))
    if options.json:
        options.json.write_text(json.dumps({"environment": facts, "threads": options.threads, "networks": documents}))


def compare(name: str, options: argparse.Namespace) -> dict:
    graph = ARCHITECTURES[name]()
    x = np.random.default_rng(0).random(graph.input_shape, np.float32)
    runners, absent = {}, {}
    for contestant in options.contestants:
        try:
            runners[contestant] = CONTESTANTS[contestant](graph, options.threads)
        except ImportError as error:
            absent[contestant] = str(error)
    outputs = {contestant: output_of(runner, x) for contestant, runner in runners.items()}
    expected = outputs.get(REFERENCE, outputs[OURS])
    errors = {contestant: largest_error(y, expected) for contestant, y in outputs.items()}
    if wrong := [contestant for contestant, error in errors.items() if error > TOLERANCE]:
        raise SystemExit(f"{name}: wrong results from {', '.join(wrong)}: {errors}")
    samples = measure({contestant: runner.call for contestant, runner in runners.items()}, options.seconds, options.threads)
    print(f"\n{table(name, runners, samples, errors, absent)}", flush=True)
    return {"network": name, "absent": absent, "errors": errors, "samples": {key: asdict(value) for key, value in samples.items()}}


def output_of(runner: Runner, x: np.ndarray) -> np.ndarray:
    runner.set_input(x)
    runner.call()
    return runner.output_nhwc(0).copy()


def table(name: str, runners: dict[str, Runner], samples: dict[str, Samples], errors: dict[str, float], absent: dict[str, str]) -> str:
    others = {contestant: found for contestant, found in samples.items() if not contestant.startswith(OURS)}
    ours = samples[OURS]
    title = name
    if others:
        best = min(others, key=lambda contestant: others[contestant].minimum)
        of_medians = ours.median / min(found.median for found in others.values())
        title += f": {ours.minimum / others[best].minimum:.3f} of minima, {of_medians:.3f} of medians (best {best})"
    lines = [title, f"  {'contestant':<13}{'minimum':>9}{'median':>9}{'error':>10}  form"]
    for contestant, found in sorted(samples.items(), key=lambda item: item[1].minimum):
        times = f"{1e3 * found.minimum:>9.3f}{1e3 * found.median:>9.3f}{errors[contestant]:>10.1e}"
        lines.append(f"  {contestant:<13}{times}  {runners[contestant].form}")
    return "\n".join(lines + [f"  {contestant:<13}absent: {reason}" for contestant, reason in absent.items()])


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.networks", description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", type=names_of(ARCHITECTURES), default=list(ARCHITECTURES), metavar="NAME,...", help="default: all")
    parser.add_argument("--contestants", type=names_of(CONTESTANTS), default=list(CONTESTANTS), metavar="NAME,...", help="default: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0, help="for all contestants of a network together (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample")
    return parser


def names_of(known: dict) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := set(chosen) - set(known):
            raise argparse.ArgumentTypeError(f"no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return chosen

    return parse


if __name__ == "__main__":
    main()
