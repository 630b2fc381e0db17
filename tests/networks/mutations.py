"""Model files, damaged in every way that a file can be: cut, overwritten, or well formed and absurd.

A damaged file is known by a number: damaged(corpus, number) is always the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fastdw.networks.arranging import Concatenate, ResizeBilinear
from fastdw.networks.graph import INPUT, Graph
from fastdw.networks.pooling import MaxPool2D
from fastdw.networks.random_graph import RandomGraph

SIZES = [-(2**31), -(2**16), -2, -1, 0, 1, 2, 3, 4, 7, 255, 2**15, 2**20, 2**30, 2**31 - 1]
KILOBYTE = 1024
MOST_BYTES = 600_000  # of a model in the corpus


@dataclass(frozen=True)
class Sound:
    """A model before it is damaged."""

    name: str
    suffix: str
    data: bytes

    @cached_property
    def tables(self) -> np.ndarray:
        """Where the bytes are that are no weights."""
        is_weight = np.zeros(len(self.data), bool)
        for start, size in (tflite_weights if self.suffix == ".tflite" else onnx_weights)(self.data):
            is_weight[start : start + size] = True
        return np.flatnonzero(~is_weight)


Damage = Callable[[Sound, np.random.Generator], bytes]


def corpus(models: Path) -> list[Sound]:
    """Small models of all kinds: those in the folder, and architectures in both formats where their writers are installed."""
    found = [Sound(path.name, path.suffix, path.read_bytes()) for path in sorted(models.glob("*.tflite"))]
    found = [sound for sound in found if len(sound.data) <= MOST_BYTES]
    for suffix, write in writers().items():
        found.append(Sound(f"blocks{suffix}", suffix, write(blocks())))
    return found


def writers() -> dict[str, Callable]:
    given: dict[str, Callable] = {}
    try:
        from bench.networks.to_tflite import to_tflite

        given[".tflite"] = to_tflite
    except ImportError:
        pass
    try:
        from bench.networks.to_onnx import to_onnx

        given[".onnx"] = lambda graph: to_onnx(graph).SerializeToString()
    except ImportError:
        pass
    return given


def blocks() -> Graph:
    """A little of everything that the architectures have."""
    graph = RandomGraph("blocks", 33, seed=0, activation="hard_swish")
    x = graph.conv("stem", INPUT, 8, 2)
    x = graph.inverted_residual("block1", x, 16, 8, squeeze=4)
    x = graph.inverted_residual("block2", x, 16, 8, stride=2, kernel=5, squeeze=4, gate="sigmoid")
    small = graph.add(MaxPool2D("pooled", (x,), window=(3, 3), stride=(2, 2)))
    small = graph.add(ResizeBilinear("resized", (graph.pointwise("narrow", small, 4, "silu"),), size=graph.shapes[x][1:3]))
    x = graph.add(Concatenate("joined", (small, graph.depthwise("dilated", x, dilation=2))))
    graph.classifier(graph.mean(x), 5)
    return graph


def damaged(sounds: list[Sound], number: int) -> tuple[str, str, bytes]:
    """What was done to which model, the suffix of the file, and its bytes. The first numbers cut each model at every kilobyte."""
    for sound in sounds:
        n_cuts = -(-len(sound.data) // KILOBYTE)
        if number < n_cuts:
            return f"{sound.name} cut at {number} KB", sound.suffix, sound.data[: number * KILOBYTE]
        number -= n_cuts
    rng = np.random.default_rng(number)
    sound = sounds[rng.integers(len(sounds))]
    ways = (*BYTES, *(TFLITE if sound.suffix == ".tflite" else ONNX))
    way = ways[rng.integers(len(ways))]
    return f"{sound.name} {way.__name__}", sound.suffix, way(sound, rng)


def flipped_bits(sound: Sound, rng: np.random.Generator) -> bytes:
    data = bytearray(sound.data)
    places = rng.choice(sound.tables, rng.integers(1, 9)) if rng.random() < 0.8 else rng.integers(0, len(data), 8)
    for place in places:
        data[place] ^= 1 << int(rng.integers(8))
    return bytes(data)


def overwritten_words(sound: Sound, rng: np.random.Generator) -> bytes:
    data = bytearray(sound.data)
    for place in rng.choice(sound.tables[:-4], rng.integers(1, 4)):
        place -= place % 4
        data[place : place + 4] = int(rng.choice(SIZES)).to_bytes(4, "little", signed=True)
    return bytes(data)


def moved_bytes(sound: Sound, rng: np.random.Generator) -> bytes:
    """A piece is left out, doubled, or copied elsewhere."""
    start, size = int(rng.choice(sound.tables)), int(rng.integers(1, 200))
    piece, rest = sound.data[start : start + size], sound.data[:start] + sound.data[start + size :]
    where = int(rng.choice([start, *rng.integers(0, len(rest), 3)]))
    return rest if rng.random() < 0.3 else rest[:where] + piece * int(rng.integers(1, 4)) + rest[where:]


def cut_anywhere(sound: Sound, rng: np.random.Generator) -> bytes:
    return sound.data[: int(rng.integers(len(sound.data)))]


def tflite_tables(data: bytearray):
    import tflite

    model = tflite.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    tensors = [graph.Tensors(index) for index in range(graph.TensorsLength())]
    return model, tensors, [graph.Operators(index) for index in range(graph.OperatorsLength())]


def tflite_weights(data: bytes) -> list[tuple[int, int]]:
    import tflite

    buffer = bytearray(data)
    base = np.frombuffer(buffer, np.uint8).ctypes.data
    model = tflite.Model.GetRootAs(buffer, 0)
    arrays = [model.Buffers(index).DataAsNumpy() for index in range(model.BuffersLength())]
    return [(array.ctypes.data - base, array.size) for array in arrays if isinstance(array, np.ndarray) and array.size > 64]


def in_place(change: Callable[[list, list, np.random.Generator], None]) -> Damage:
    """What changes the vectors of a flatbuffer, which NumPy sees where they lie."""

    def damage(sound: Sound, rng: np.random.Generator) -> bytes:
        data = bytearray(sound.data)
        _, tensors, operators = tflite_tables(data)
        for _ in range(rng.integers(1, 4)):
            change(tensors, operators, rng)
        return bytes(data)

    damage.__name__ = change.__name__
    return damage


@in_place
def absurd_shape(tensors, operators, rng) -> None:
    shape = tensors[rng.integers(len(tensors))].ShapeAsNumpy()
    if isinstance(shape, np.ndarray) and shape.size:
        shape[rng.integers(shape.size)] = rng.choice(SIZES)


@in_place
def wrong_tensor(tensors, operators, rng) -> None:
    """An operator reads or gives another tensor: cycles, tensors that nothing gives, indices beyond the last."""
    operator = operators[rng.integers(len(operators))]
    vector = operator.InputsAsNumpy() if rng.random() < 0.6 else operator.OutputsAsNumpy()
    if isinstance(vector, np.ndarray) and vector.size:
        vector[rng.integers(vector.size)] = rng.integers(len(tensors)) if rng.random() < 0.8 else rng.choice(SIZES)


@in_place
def swapped_operators(tensors, operators, rng) -> None:
    one, other = (operators[rng.integers(len(operators))] for _ in range(2))
    for field in ("InputsAsNumpy", "OutputsAsNumpy"):
        first, second = getattr(one, field)(), getattr(other, field)()
        size = min(first.size, second.size)
        first[:size], second[:size] = second[:size].copy(), first[:size].copy()


def onnx_weights(data: bytes) -> list[tuple[int, int]]:
    import onnx

    raw = [tensor.raw_data for tensor in onnx.ModelProto.FromString(data).graph.initializer]
    return [(data.find(values), len(values)) for values in raw if len(values) > 64]


def in_graph(change: Callable) -> Damage:
    """What changes the parsed model."""

    def damage(sound: Sound, rng: np.random.Generator) -> bytes:
        import onnx

        model = onnx.ModelProto.FromString(sound.data)
        for _ in range(rng.integers(1, 4)):
            change(model, model.graph, rng)
        return model.SerializeToString()

    damage.__name__ = change.__name__
    return damage


@in_graph
def wrong_name(model, graph, rng) -> None:
    """A node reads or gives another value: cycles, values that nothing gives."""
    node = graph.node[rng.integers(len(graph.node))]
    names = [name for other in graph.node for name in (*other.input, *other.output)] + ["", "nothing"]
    field = node.input if rng.random() < 0.6 else node.output
    if field:
        field[rng.integers(len(field))] = names[rng.integers(len(names))]


@in_graph
def absurd_constant(model, graph, rng) -> None:
    tensor = graph.initializer[rng.integers(len(graph.initializer))]
    what = rng.integers(4)
    if what == 0 and tensor.dims:
        tensor.dims[rng.integers(len(tensor.dims))] = rng.choice(SIZES)
    elif what == 1:
        tensor.data_type = rng.integers(24)
    elif what == 2:
        tensor.raw_data = tensor.raw_data[: rng.integers(len(tensor.raw_data) + 1)]
    else:
        tensor.dims.append(int(rng.choice(SIZES)))


@in_graph
def absurd_attribute(model, graph, rng) -> None:
    nodes = [node for node in graph.node if node.attribute]
    node = nodes[rng.integers(len(nodes))]
    attribute = node.attribute[rng.integers(len(node.attribute))]
    what = rng.integers(4)
    if what == 0:
        node.attribute.remove(attribute)
    elif what == 1 and attribute.ints:
        attribute.ints[rng.integers(len(attribute.ints))] = rng.choice(SIZES)
    elif what == 2:
        attribute.i, attribute.f = rng.choice(SIZES), rng.choice([0, -1, 1e38, np.nan, np.inf])
    else:
        attribute.type = rng.integers(15)


@in_graph
def absurd_graph(model, graph, rng) -> None:
    what = rng.integers(6)
    if what == 0:
        del graph.node[rng.integers(len(graph.node))]
    elif what == 1:
        graph.node.add().CopyFrom(graph.node[rng.integers(len(graph.node))])
    elif what == 2:
        graph.node[rng.integers(len(graph.node))].op_type = graph.node[rng.integers(len(graph.node))].op_type
    elif what == 3:
        dims = graph.input[0].type.tensor_type.shape.dim
        dims[rng.integers(len(dims))].dim_value = rng.choice(SIZES)
    elif what == 4:
        model.opset_import[0].version = rng.choice([-1, 0, 6, 7, 10, 11, 12, 13, 18, 99])
    else:
        graph.output[0].name = graph.node[rng.integers(len(graph.node))].output[0]


BYTES: tuple[Damage, ...] = (flipped_bits, overwritten_words, moved_bytes, cut_anywhere)
TFLITE: tuple[Damage, ...] = (absurd_shape, wrong_tensor, swapped_operators)
ONNX: tuple[Damage, ...] = (wrong_name, absurd_constant, absurd_attribute, absurd_graph)
