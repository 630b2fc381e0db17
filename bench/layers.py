"""The layers that the benchmarks time: batch 1, float32, NHWC, padding "same", a bias, and relu6 on all but dense layers."""

from dataclasses import dataclass
from math import prod

KINDS = ("depthwise", "pointwise", "conv", "dense")
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Layer:
    """One layer on an image of height x width; a dense layer is one row: height = width = 1."""

    kind: str
    height: int
    width: int
    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.kind == "depthwise" and self.in_channels != self.out_channels:
            raise ValueError(f"a depthwise layer keeps its channels, not {self.in_channels} to {self.out_channels}")

    @property
    def id(self):
        size = f"{self.height}x{self.width}"
        return {
            "depthwise": f"depthwise_{size}x{self.in_channels}_k{self.kernel}s{self.stride}",
            "pointwise": f"pointwise_{size}_{self.in_channels}-{self.out_channels}",
            "conv": f"conv_{size}_{self.in_channels}-{self.out_channels}_k{self.kernel}s{self.stride}",
            "dense": f"dense_{self.in_channels}-{self.out_channels}",
        }[self.kind]

    @property
    def activation(self):
        return None if self.kind == "dense" else "relu6"

    @property
    def out_height(self):
        return -(-self.height // self.stride)

    @property
    def out_width(self):
        return -(-self.width // self.stride)

    @property
    def in_shape(self):
        return (1, self.height, self.width, self.in_channels)

    @property
    def out_shape(self):
        return (1, self.out_height, self.out_width, self.out_channels)

    @property
    def weight_shape(self):
        return {
            "depthwise": (self.kernel, self.kernel, self.in_channels, 1),
            "conv": (self.kernel, self.kernel, self.in_channels, self.out_channels),
        }.get(self.kind, (self.in_channels, self.out_channels))

    @property
    def padding(self):
        """((top, bottom), (left, right)), TensorFlow's "same": the larger half comes last."""

        def both(size, out_size):
            total = max((out_size - 1) * self.stride + self.kernel - size, 0)
            return total // 2, total - total // 2

        return both(self.height, self.out_height), both(self.width, self.out_width)

    @property
    def taps(self):
        """Products summed into one output."""
        return self.kernel**2 * (1 if self.kind == "depthwise" else self.in_channels)

    @property
    def flops(self):
        """A multiplication and an addition for each tap of each output; taps on padding count."""
        return 2 * prod(self.out_shape) * self.taps

    @property
    def weight_bytes(self):
        return FLOAT_BYTES * (prod(self.weight_shape) + self.out_channels)

    @property
    def output_bytes(self):
        return FLOAT_BYTES * prod(self.out_shape)

    @property
    def bytes(self):
        """Every array read or written once: input, weights, bias, output."""
        return FLOAT_BYTES * prod(self.in_shape) + self.weight_bytes + self.output_bytes


def depthwise(size, channels, stride=1, kernel=3):
    return Layer("depthwise", size, size, channels, channels, kernel, stride)


def pointwise(size, in_channels, out_channels):
    return Layer("pointwise", size, size, in_channels, out_channels)


def conv(size, in_channels, out_channels, kernel, stride):
    return Layer("conv", size, size, in_channels, out_channels, kernel, stride)


def dense(in_channels, out_channels):
    return Layer("dense", 1, 1, in_channels, out_channels)


MOBILENET_V1 = (
    conv(224, 3, 32, kernel=3, stride=2),
    depthwise(112, 32),
    pointwise(112, 32, 64),
    depthwise(112, 64, stride=2),
    pointwise(56, 64, 128),
    depthwise(56, 128),
    pointwise(56, 128, 128),
    depthwise(56, 128, stride=2),
    pointwise(28, 128, 256),
    depthwise(28, 256),
    pointwise(28, 256, 256),
    depthwise(28, 256, stride=2),
    pointwise(14, 256, 512),
    depthwise(14, 512),
    pointwise(14, 512, 512),
    depthwise(14, 512, stride=2),
    pointwise(7, 512, 1024),
    depthwise(7, 1024),
    pointwise(7, 1024, 1024),
    dense(1024, 1000),
)

NETWORKS = {"mobilenet_v1": MOBILENET_V1}


def layers(network="mobilenet_v1", kind=None, ids=None):
    """The distinct layers of a network, in its order: of one kind, or those named by `ids`."""
    found = [layer for layer in dict.fromkeys(NETWORKS[network]) if kind in (None, layer.kind)]
    if ids is None:
        return found
    unknown = set(ids) - {layer.id for layer in found}
    if unknown:
        raise ValueError(f"no layer {', '.join(sorted(unknown))}; there are {', '.join(layer.id for layer in found)}")
    return [layer for layer in found if layer.id in ids]
