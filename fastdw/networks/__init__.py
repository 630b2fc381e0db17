"""Whole networks: architectures, importers, and the plan that runs them.

network = load_tflite("mobilenet_v2.tflite"); y = network(x). load_tflite and load_onnx give a Network, read_tflite and read_onnx
the Graph that one is made of. ARCHITECTURES: functions that make a Graph with random weights, by name; each takes size (of the
image: one number, or height and width), classes and seed.
"""

from fastdw.networks.architectures import (
    ARCHITECTURES,
    deeplab_v3,
    ds_cnn,
    efficientnet_b0,
    efficientnet_lite0,
    mnasnet,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3_large,
    mobilenet_v3_small,
    vww,
)
from fastdw.networks.graph import Graph, Quantization
from fastdw.networks.load import load_graph
from fastdw.networks.network import Network, PlannedLayer
from fastdw.networks.onnx import load_onnx, read_onnx
from fastdw.networks.photo import load_labels, load_photo
from fastdw.networks.tflite import load_tflite, read_tflite

__all__ = [
    "ARCHITECTURES",
    "Graph",
    "Network",
    "PlannedLayer",
    "Quantization",
    "deeplab_v3",
    "ds_cnn",
    "efficientnet_b0",
    "efficientnet_lite0",
    "load_graph",
    "load_labels",
    "load_onnx",
    "load_photo",
    "load_tflite",
    "mnasnet",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "read_onnx",
    "read_tflite",
    "vww",
]
