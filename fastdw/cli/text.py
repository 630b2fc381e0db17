"""What commands share: arguments that are numbers, and tables."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from fastdw.columns import columns


def count(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text}; expected a whole number of at least 1")
    return int(text)


def print_table(rows: Sequence[Sequence[str]], n_text_columns: int) -> None:
    print("\n".join(columns(rows, n_text_columns)))


def by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
