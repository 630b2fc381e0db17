"""Blocks of a network: convolutions in a row that are computed strip by strip, where the planner finds that this pays."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from fastdw import fused
from fastdw.gather_blocks import Stages, chain
from fastdw.networks.graph import Graph
from fastdw.networks.layers import Convolution, Layer, LayerCall, with_plan
from fastdw.networks.windows import Shape
from fastdw.prepared import BlockLayer
from fastdw.problem import DEPTHWISE, POINTWISE
from fastdw.request import contiguous

# What may be a block, the longest first: an inverted residual, a separable convolution.
PATTERNS = ((POINTWISE, DEPTHWISE, POINTWISE), (DEPTHWISE, POINTWISE))


@dataclass(frozen=True, eq=False)
class Block(Layer):
    """Convolutions in a row as one layer. A second input is the residual of the last."""

    kind = "block"
    stages: tuple[Convolution, ...] = field(kw_only=True)

    @property
    def n_parameters(self) -> int:
        return sum(stage.n_parameters for stage in self.stages)

    def stage_shapes(self, shape: Shape) -> list[Shape]:
        """Of the input and of what each stage gives."""
        shapes = [shape]
        for stage in self.stages:
            shapes.append(stage.output_shape(shapes[-1]))
        return shapes

    def output_shape(self, *input_shapes: Shape) -> Shape:
        return self.stage_shapes(input_shapes[0])[-1]

    def multiply_adds(self, *input_shapes: Shape) -> int:
        return sum(stage.multiply_adds(shape) for stage, shape in zip(self.stages, self.stage_shapes(input_shapes[0]), strict=False))

    def gathered(self, threads: int | None, shape: Shape, packed: bool) -> Stages:
        """The stages' requests and arrays, but for the residual."""
        given = [(each.stage, each.weight, each.bias, each.activation, names_of(each.stage), each.geometry) for each in self.stages]
        return chain(contiguous(shape), given, None, None, threads, packed)

    def prepare(self, threads: int | None, *input_shapes: Shape) -> LayerCall:
        layer = BlockLayer(self.gathered(threads, input_shapes[0], packed=True), takes_residual=len(input_shapes) == 2)
        return with_plan(lambda x, residual=None, *, out: layer(x, out=out, residual=residual), layer)


def names_of(stage: str) -> tuple[str, str, str]:
    return f"{stage}_weight", f"{stage}_bias", f"{stage}_activation"


def fuse(graph: Graph, threads: int | None) -> Graph:
    """The same network with blocks where the planner computes them in strips."""
    readers = Counter([graph.output, *(name for layer in graph.layers for name in layer.inputs)])
    following = {layer.inputs[0]: layer for layer in graph.layers if readers[layer.inputs[0]] == 1}
    replaced: dict[str, Block | None] = {}  # by stage; None but for the last of a block
    for layer in graph.layers:
        if layer.name not in replaced and (block := find_block(graph, layer, following, threads)):
            replaced |= dict.fromkeys((stage.name for stage in block.stages), None) | {block.name: block}
    result = Graph(graph.name, graph.input_shape, graph.quantization)
    for layer in graph.layers:
        if found := replaced.get(layer.name, layer):
            result.add(found)
    result.output = graph.output
    return result


def find_block(graph: Graph, layer: Layer, following: dict[str, Layer], threads: int | None) -> Block | None:
    """The block that begins with a layer."""
    for pattern in PATTERNS:
        stages = [layer]
        while len(stages) < len(pattern) and stages[-1].name in following:
            stages.append(following[stages[-1].name])
        if not is_chain(stages, pattern):
            continue
        last = stages[-1]
        block = Block(last.name, (layer.inputs[0], *last.inputs[1:]), stages=tuple(stages))  # type: ignore[arg-type]
        try:
            plan = fused.plan_of(block.gathered(threads, graph.shapes[layer.inputs[0]], packed=False).requests)
        except (TypeError, ValueError):
            return None  # what is wrong is said where the layers are planned
        if plan.cut:
            return block
    return None


def is_chain(layers: list[Layer], pattern: tuple[str, ...]) -> bool:
    """Whether these are convolutions of such kinds, only the last with a residual."""
    stages = [layer for layer in layers if isinstance(layer, Convolution)]
    if len(stages) < len(layers) or [stage.stage for stage in stages] != list(pattern):
        return False
    return not any(stage.has_residual for stage in stages[:-1])
