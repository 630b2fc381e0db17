"""Networks by name or file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from fastdw.networks.architectures import ARCHITECTURES
from fastdw.networks.graph import Graph
from fastdw.networks.onnx import read_onnx
from fastdw.networks.tflite import read_tflite


def load_graph(model: str | PathLike) -> Graph:
    """An architecture with random weights by its name, or a file.

    Raises:
      ValueError: neither, or a file that cannot be understood.
    """
    if model in ARCHITECTURES:
        return ARCHITECTURES[str(model)]()
    if not Path(model).exists():
        raise ValueError(f"model: got {str(model)!r}; expected a .tflite or .onnx file, or one of {', '.join(ARCHITECTURES)}")
    return read_onnx(model) if Path(model).suffix == ".onnx" else read_tflite(model)
