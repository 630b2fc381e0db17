"""Whole networks: architectures, importers, and the plan that runs them."""

from fastdw.networks.architectures import ARCHITECTURES, mobilenet_v1, mobilenet_v2
from fastdw.networks.graph import Graph, Quantization
from fastdw.networks.network import Network, PlannedLayer
from fastdw.networks.photo import load_labels, load_photo
from fastdw.networks.tflite import load_tflite, read_tflite

__all__ = [
    "ARCHITECTURES",
    "Graph",
    "Network",
    "PlannedLayer",
    "Quantization",
    "load_labels",
    "load_photo",
    "load_tflite",
    "mobilenet_v1",
    "mobilenet_v2",
    "read_tflite",
]
