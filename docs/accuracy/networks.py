"""The networks of the tutorial: one shape, with regular or with depthwise-separable convolutions, at a width.

A stem of 16 channels, three convolutions of 32, 64 and 64 channels times the width, the mean over the image, a classifier. After each
convolution a batch normalisation and relu; in separable ones between the two parts too, as in MobileNet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from tasks import Task
from torch import nn

import fastdw
from fastdw import cost
from fastdw.weights import from_torch

STEM, BLOCKS = 16, ((32, 2), (64, 2), (64, 1))  # channels, stride
EPSILON = 1e-5


@dataclass(frozen=True)
class Design:
    """A network before it is trained."""

    name: str
    is_separable: bool
    channels: tuple[int, ...]

    def cost(self, task: Task) -> cost.Cost:
        """Of its convolutions and classifier, biases left out."""
        parts = [cost.regular(task.shape, STEM, task.kernel)]
        form = cost.separable if self.is_separable else cost.regular
        for channels, (_, stride) in zip(self.channels, BLOCKS, strict=True):
            parts.append(form(parts[-1].out_shape, channels, task.kernel, stride=_strides(task, stride)))
        parts.append(cost.pointwise((1, 1, self.channels[-1]), int(task.labels.max()) + 1))
        return cost.chain(self.name, parts)


def designs(task: Task) -> list[Design]:
    """Regular and separable at width 1; separable as wide as the parameters, or the multiplications, of the regular one allow;
    regular as narrow as the multiplications of the separable one ask for."""
    regular, separable = make("regular", False, 1), make("separable", True, 1)
    limits, least = regular.cost(task), separable.cost(task)
    return [
        regular,
        separable,
        widest("separable, parameters of regular", True, lambda design: design.cost(task).parameters <= limits.parameters),
        widest("separable, multiplications of regular", True, lambda design: design.cost(task).multiply_adds <= limits.multiply_adds),
        widest("regular, multiplications of separable", False, lambda design: design.cost(task).multiply_adds <= least.multiply_adds),
    ]


def make(name: str, is_separable: bool, width: float) -> Design:
    return Design(name, is_separable, tuple(max(4, 4 * round(channels * width / 4)) for channels, _ in BLOCKS))


def widest(name: str, is_separable: bool, fits: Callable[[Design], bool]) -> Design:
    return [design for width in np.arange(0.1, 8, 0.01) if fits(design := make(name, is_separable, float(width)))][-1]


class Convolution(nn.Sequential):
    """A convolution without bias, its batch normalisation, and relu."""

    def __init__(self, task: Task, channels: int, out_channels: int, stride: int = 1, kind: str = "conv"):
        kernel = (1, 1) if kind == "pointwise" else task.kernel
        padding = (kernel[0] // 2, kernel[1] // 2)
        groups = channels if kind == "depthwise" else 1
        strides = _strides(task, stride)
        convolution = nn.Conv2d(channels, out_channels, kernel, strides, padding, groups=groups, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(out_channels, EPSILON), nn.ReLU())
        self.kind = kind
        self.window = {"stride": strides, "padding": padding}

    def folded(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias in fastdw's layout, the batch normalisation in them."""
        convolution, norm, _ = self
        weight = from_torch(convolution.weight.detach(), self.kind)
        statistics = [array.detach().numpy() for array in (norm.running_mean, norm.running_var, norm.weight, norm.bias)]
        return fastdw.fold_batch_norm(weight, None, *statistics, EPSILON, kind=self.kind)


def build(design: Design, task: Task) -> nn.Sequential:
    layers, channels = [Convolution(task, 1, STEM)], STEM
    for out_channels, (_, stride) in zip(design.channels, BLOCKS, strict=True):
        if design.is_separable:
            layers += [
                Convolution(task, channels, channels, stride, "depthwise"),
                Convolution(task, channels, out_channels, kind="pointwise"),
            ]
        else:
            layers.append(Convolution(task, channels, out_channels, stride))
        channels = out_channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, int(task.labels.max()) + 1))


def train(network: nn.Sequential, task: Task, indices: np.ndarray, epochs: int) -> None:
    """Adam with a cosine schedule, batches of 64, in an order that torch's seed gives."""
    x, labels = torch.from_numpy(task.x[indices].transpose(0, 3, 1, 2).copy()), torch.from_numpy(task.labels[indices])
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    network.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[batch]), labels[batch]).backward()
            optimizer.step()
        schedule.step()
    network.eval()


def on_fastdw(network: nn.Sequential, shape: tuple[int, ...], terms: int | None = None, threads: int | None = 1) -> Callable:
    """The trained network as prepared calls of fastdw on images of this shape [batch, height, width, 1].

    terms: decouple each regular convolution but the stem into so many separable ones, without any training.
    """
    calls: list[Callable] = []

    def add(function: Callable, *weights, **keywords) -> None:
        nonlocal shape
        calls.append(fastdw.prepare(function, shape, *weights, threads=threads, **keywords))
        shape = calls[-1].out_shape

    convolutions = [layer for layer in network if isinstance(layer, Convolution)]
    for number, layer in enumerate(convolutions):
        weight, bias = layer.folded()
        if layer.kind == "depthwise":
            pointwise, pointwise_bias = convolutions[number + 1].folded()
            rest = {"depthwise_activation": "relu", "activation": "relu"}
            add(fastdw.separable_conv2d, weight, pointwise, bias, pointwise_bias, **rest, **layer.window)
        elif layer.kind == "conv" and terms and number:
            parts = fastdw.decouple(weight, terms)
            add(fastdw.separable_conv2d, parts.depthwise, parts.pointwise, None, bias, activation="relu", **layer.window)
        elif layer.kind == "conv":
            add(fastdw.conv2d, weight, bias, activation="relu", **layer.window)
    calls.append(fastdw.prepare(fastdw.global_average_pool2d, shape))
    shape = calls[-1].out_shape
    add(fastdw.dense, from_torch(network[-1].weight.detach(), "dense"), network[-1].bias.detach().numpy())

    def run(x: np.ndarray) -> np.ndarray:
        for call in calls:
            x = call(x)
        return x

    return run


def error_of(network: nn.Sequential, terms: int) -> float:
    """Of the decoupled weights, relative, the mean over the convolutions but the stem."""
    weights = [layer.folded()[0] for layer in network if isinstance(layer, Convolution)]
    return float(np.mean([fastdw.decouple(weight, terms).error for weight in weights[1:]]))


def _strides(task: Task, stride: int) -> tuple[int, int]:
    return (stride if task.shape[0] > 1 else 1, stride)
