"""The options by which commands name what they are about: an architecture, a model or a file of shapes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

DEFAULT_NETWORK = "mobilenet_v2"


def add_targets(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--network", metavar="NAME", help=f"an architecture with random weights ({DEFAULT_NETWORK})")
    group.add_argument("--model", metavar="FILE", help="a model file")
    group.add_argument("--shapes", type=Path, metavar="FILE", help="layers, one a line: depthwise 56x56x128 kernel=3 stride=2")


def target(options: argparse.Namespace) -> Any:
    """What fastdw.autotune takes: a network's name or path, or a list of problems."""
    from fastdw.networks import ARCHITECTURES
    from fastdw.tuning import shapes

    if options.shapes is not None:
        return shapes.read_file(options.shapes)
    if options.model is not None:
        if not Path(options.model).is_file():
            raise ValueError(f"model: got {options.model!r}; expected a file")
        return Path(options.model)
    name = options.network or DEFAULT_NETWORK
    if name not in ARCHITECTURES:
        raise ValueError(f"network: got {name!r}; expected one of {', '.join(ARCHITECTURES)}")
    return name


def counts(text: str) -> list[int]:
    """Numbers with commas between them."""
    if not all(part.isdecimal() and int(part) > 0 for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"got {text}; expected whole numbers of at least 1, such as 1,2")
    return [int(part) for part in text.split(",")]
