"""What commands share: arguments that are numbers, and tables."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def count(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text}; expected a whole number of at least 1")
    return int(text)


def print_table(rows: Sequence[Sequence[str]], n_text_columns: int) -> None:
    """Columns of text to the left, of numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if index < n_text_columns else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
