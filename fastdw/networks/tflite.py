"""TensorFlow Lite files as networks.

Float32 models run as they are. Quantised ones (int8, uint8, per tensor and per channel) run in float32 with their weights
and biases dequantised. Operators are converted one by one, in the file's order, which is the order they run in.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from fastdw.networks.graph import Graph
from fastdw.networks.network import Network
from fastdw.networks.tflite_file import read_model
from fastdw.networks.tflite_operators import Converter


def load_tflite(path: str | PathLike[str], *, threads: int | None = None) -> Network:
    """The network of a .tflite file, planned.

    Raises:
      OSError: the file cannot be read.
      ImportError: the package `tflite` is missing.
      ValueError: the file is no model, is damaged, or has an operator that is not supported; the message names the file and the operator.
    """
    return Network(read_tflite(path), threads=threads)


def read_tflite(path: str | PathLike[str]) -> Graph:
    """The graph of a .tflite file, as `load_tflite` reads it."""
    path = Path(path)
    try:
        return Converter(read_model(path), path.stem).graph()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
