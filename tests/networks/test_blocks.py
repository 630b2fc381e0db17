"""Blocks of networks: which convolutions become one, and that the bits of the network stay."""

from dataclasses import replace

import numpy as np
import pytest
from graphs import conv, depthwise, pointwise, value

from fastdw import blockplanner, program, thread_pool
from fastdw.machine import host
from fastdw.networks import ARCHITECTURES, Graph, Network
from fastdw.networks.blocks import Block, fuse
from fastdw.networks.elementwise import Add
from fastdw.networks.graph import INPUT

SAME = ((1, 1), (1, 1))


@pytest.fixture(autouse=True)
def small_cache(monkeypatch):
    """So that small images leave the cache."""
    monkeypatch.setattr(blockplanner, "host", lambda: replace(host(), l2_bytes=256 << 10))


def runs_alike(graph: Graph, threads: int) -> Network:
    """The fused network, which gives the bits of the layers one by one."""
    network, apart = Network(graph, threads=threads), Network(graph, threads=threads, fuse=False)
    x = value(*network.input_shape)
    expected = apart(x)
    assert np.isfinite(expected).all()
    turned = np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2)
    for y in (network(x), network(x, np.full_like(expected, np.nan)), network(turned), apart(turned)):
        np.testing.assert_array_equal(y.view(np.int32), expected.view(np.int32))
    profiled = network.profile(x)
    assert [layer for layer, _ in profiled] == list(network.layers)
    return network


def kinds(network: Network) -> list[str]:
    return [layer.kind for layer in network.layers]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large"])
def test_the_bits_of_networks_are_those_without_blocks(name, threads):
    network = runs_alike(ARCHITECTURES[name](size=128, classes=10), threads)
    assert kinds(network).count("block") >= 1


def residual_graph() -> Graph:
    """A stem, an inverted residual, and a separable convolution."""
    graph = Graph("test", (1, 64, 64, 3))
    graph.add(conv("stem", INPUT, 3, 48, padding=SAME))
    graph.add(pointwise("expand", "stem", 48, 64, activation="relu6"))
    graph.add(depthwise("depthwise", "expand", 64, padding=SAME, activation="hard_swish"))
    graph.add(pointwise("project", "depthwise", 64, 48))
    graph.add(Add("add", ("stem", "project")))
    graph.add(depthwise("second", "add", 48, padding=SAME, activation="relu"))
    graph.add(pointwise("last", "second", 48, 16, activation=(-1.0, 1.0)))
    return graph


def test_blocks_are_found():
    network = runs_alike(residual_graph(), 1)
    found = [(layer.name, layer.kind, len(layer.inputs), layer.output_shape) for layer in network.layers]
    assert found == [
        ("stem", "conv2d", 1, (1, 64, 64, 48)),
        ("project", "block", 2, (1, 64, 64, 48)),
        ("last", "block", 1, (1, 64, 64, 16)),
    ]
    assert network.multiply_adds == Network(residual_graph(), fuse=False).multiply_adds
    assert "strips" in network.layers[1].kernel
    assert network.scratch_bytes < Network(residual_graph(), fuse=False).scratch_bytes


def test_what_others_read_is_no_part_of_a_block():
    graph = residual_graph()
    graph.output = "depthwise"
    assert kinds(runs_alike(graph, 1)) == ["conv2d", "pointwise_conv2d", "depthwise_conv2d"]
    graph = residual_graph()
    graph.add(pointwise("again", "second", 48, 16))
    graph.add(Add("both", ("again", "last")))
    assert kinds(runs_alike(graph, 1)) == ["conv2d", "block", "depthwise_conv2d", "pointwise_conv2d", "pointwise_conv2d"]


def test_a_block_has_the_parameters_of_its_stages():
    graph = ARCHITECTURES["mobilenet_v2"](size=128, classes=10)
    blocks = [layer for layer in fuse(graph, 1).layers if isinstance(layer, Block)]
    assert blocks
    for block in blocks:
        assert block.n_parameters == sum(stage.weight.size + (0 if stage.bias is None else stage.bias.size) for stage in block.stages)
    assert sum(layer.n_parameters for layer in fuse(graph, 1).layers) == sum(layer.n_parameters for layer in graph.layers) > 2_000_000


def test_wrong_arguments():
    with pytest.raises(TypeError, match=r"^fuse: got 1; expected True or False"):
        Network(residual_graph(), fuse=1)


def test_no_more_threads_than_the_scratch_of_blocks_has_room_for(monkeypatch):
    """Cores that come back after a network was planned, as quotas do, are not used by it."""
    started = []

    class Recorded(program.Program):
        def __init__(self, steps, *more):
            started.append(max(more[:1], default=1))
            super().__init__(steps, *more)

    monkeypatch.setattr(program, "Program", Recorded)
    monkeypatch.setattr(thread_pool, "thread_limit", lambda: 2)
    network = Network(ARCHITECTURES["mobilenet_v2"](), threads=4)
    room = [layer.call.plan.threads for layer in network.layers if layer.scratch_bytes]
    assert room
    assert started[-1] <= min(room)
