"""The layers that the benchmarks time: batch 1, float32, NHWC, padding "same", a bias, and relu6 on all but dense layers."""

from __future__ import annotations

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
    dilation: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.kind == "depthwise" and self.out_channels % self.in_channels:
            raise ValueError(f"a depthwise layer multiplies its channels, not {self.in_channels} to {self.out_channels}")

    @property
    def id(self) -> str:
        size = f"{self.height}x{self.width}"
        times = f"m{self.multiplier}" if self.multiplier > 1 else ""
        dilated = f"d{self.dilation}" if self.dilation > 1 else ""
        return {
            "depthwise": f"depthwise_{size}x{self.in_channels}{times}_k{self.kernel}s{self.stride}{dilated}",
            "pointwise": f"pointwise_{size}_{self.in_channels}-{self.out_channels}",
            "conv": f"conv_{size}_{self.in_channels}-{self.out_channels}_k{self.kernel}s{self.stride}",
            "dense": f"dense_{self.in_channels}-{self.out_channels}",
        }[self.kind]

    @property
    def multiplier(self) -> int:
        """Output channels of an input channel, in a depthwise layer."""
        return self.out_channels // self.in_channels if self.kind == "depthwise" else 1

    @property
    def span(self) -> int:
        """Rows or columns from the first tap to the last."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def activation(self) -> str | None:
        return None if self.kind == "dense" else "relu6"

    @property
    def out_height(self) -> int:
        return -(-self.height // self.stride)

    @property
    def out_width(self) -> int:
        return -(-self.width // self.stride)

    @property
    def in_shape(self) -> tuple[int, ...]:
        return (1, self.height, self.width, self.in_channels)

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (1, self.out_height, self.out_width, self.out_channels)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return {
            "depthwise": (self.kernel, self.kernel, self.in_channels, self.multiplier),
            "conv": (self.kernel, self.kernel, self.in_channels, self.out_channels),
        }.get(self.kind, (self.in_channels, self.out_channels))

    @property
    def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """((top, bottom), (left, right)), TensorFlow's "same": the larger half comes last."""

        def both(size: int, out_size: int) -> tuple[int, int]:
            total = max((out_size - 1) * self.stride + self.span - size, 0)
            return total // 2, total - total // 2

        return both(self.height, self.out_height), both(self.width, self.out_width)

    @property
    def taps(self) -> int:
        """Products summed into one output."""
        return self.kernel**2 * (1 if self.kind == "depthwise" else self.in_channels)

    @property
    def flops(self) -> int:
        """A multiplication and an addition for each tap of each output; taps on padding count."""
        return 2 * prod(self.out_shape) * self.taps

    @property
    def weight_bytes(self) -> int:
        return FLOAT_BYTES * (prod(self.weight_shape) + self.out_channels)

    @property
    def output_bytes(self) -> int:
        return FLOAT_BYTES * prod(self.out_shape)

    @property
    def bytes(self) -> int:
        """Every array read or written once: input, weights, bias, output."""
        return FLOAT_BYTES * prod(self.in_shape) + self.weight_bytes + self.output_bytes


def depthwise(size: int | Size, channels: int, stride: int = 1, kernel: int = 3, multiplier: int = 1, dilation: int = 1) -> Layer:
    return Layer("depthwise", *_extents(size), channels, channels * multiplier, kernel, stride, dilation)


def pointwise(size: int | Size, in_channels: int, out_channels: int) -> Layer:
    return Layer("pointwise", *_extents(size), in_channels, out_channels)


Size = tuple[int, int]


def _extents(size: int | Size) -> Size:
    return (size, size) if isinstance(size, int) else size


def conv(size: int, in_channels: int, out_channels: int, kernel: int, stride: int) -> Layer:
    return Layer("conv", size, size, in_channels, out_channels, kernel, stride)


def dense(in_channels: int, out_channels: int) -> Layer:
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

# Kinds of layers that MobileNetV1 does not have
WIDE_FILTERS = (  # MobileNetV3, EfficientNet, ConvNeXt
    *(depthwise(28, 120, kernel=5), depthwise(14, 672, kernel=5), depthwise(7, 960, kernel=5), depthwise(28, 240, 2, 5)),
    *(depthwise(14, 480, kernel=5), depthwise(7, 1152, kernel=5), depthwise(14, 672, 2, 5)),
    *(depthwise(56, 96, kernel=7), depthwise(28, 192, kernel=7), depthwise(14, 384, kernel=7), depthwise(7, 768, kernel=7)),
)
MULTIPLIERS = tuple(depthwise(size, channels, multiplier=m) for size, channels in ((56, 64), (28, 128), (14, 256)) for m in (2, 3))
DILATIONS = tuple(depthwise(size, channels, dilation=d) for size, channels in ((33, 960), (65, 384)) for d in (2, 4))
ODD_CHANNELS = tuple(depthwise(size, channels) for size in (56, 28) for channels in (3, 17, 36, 100))
SMALL_IMAGES = (
    *(depthwise(7, 1024), depthwise(7, 512), depthwise(4, 256), depthwise(2, 512), depthwise(1, 1024), depthwise((25, 5), 64)),
    *(pointwise(7, 160, 960), pointwise(4, 256, 256), pointwise(1, 512, 512), pointwise((25, 5), 64, 64)),
)
NARROW_POINTWISE = (
    *(pointwise(112, 16, 24), pointwise(56, 24, 48), pointwise(56, 48, 16), pointwise(112, 32, 16), pointwise(28, 40, 40)),
    *(pointwise(112, 3, 32), pointwise(28, 17, 35), pointwise(14, 33, 47), pointwise(1, 256, 128), pointwise(1, 1280, 1000)),
)

NETWORKS = {
    "mobilenet_v1": MOBILENET_V1,
    "wide_filters": WIDE_FILTERS,
    "multipliers": MULTIPLIERS,
    "dilations": DILATIONS,
    "odd_channels": ODD_CHANNELS,
    "small_images": SMALL_IMAGES,
    "narrow_pointwise": NARROW_POINTWISE,
}


def layers(network: str = "mobilenet_v1", kind: str | None = None) -> list[Layer]:
    """The distinct layers of a network, in its order; of one kind, or all."""
    return [layer for layer in dict.fromkeys(NETWORKS[network]) if kind in (None, layer.kind)]
