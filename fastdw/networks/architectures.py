"""Known architectures with random weights, for benches, tuning and a first run without a model file.

Each takes `size` (of the image: one number, or height and width), `classes` and `seed`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastdw.networks.arranging import Concatenate, ResizeBilinear
from fastdw.networks.graph import INPUT, Graph
from fastdw.networks.layers import GlobalAveragePool2D
from fastdw.networks.random_graph import RandomGraph, divisible

Size = int | tuple[int, int]

# (channels, stride of the depthwise layer)
MOBILENET_V1_BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
# (expansion, channels, blocks, stride of the first block, kernel)
MOBILENET_V2_STAGES = [
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 32, 3, 2, 3),
    (6, 64, 4, 2, 3),
    (6, 96, 3, 1, 3),
    (6, 160, 3, 2, 3),
    (6, 320, 1, 1, 3),
]
EFFICIENTNET_STAGES = [
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
]
MNASNET_STAGES = [
    (1, 16, 1, 1, 3),
    (3, 24, 3, 2, 3),
    (3, 40, 3, 2, 5),
    (6, 80, 3, 2, 5),
    (6, 96, 2, 1, 3),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
]
# (kernel, hidden channels, channels, squeeze-and-excitation, activation, stride)
MOBILENET_V3_LARGE_BLOCKS = [
    (3, 16, 16, False, "relu", 1),
    (3, 64, 24, False, "relu", 2),
    (3, 72, 24, False, "relu", 1),
    (5, 72, 40, True, "relu", 2),
    (5, 120, 40, True, "relu", 1),
    (5, 120, 40, True, "relu", 1),
    (3, 240, 80, False, "hard_swish", 2),
    (3, 200, 80, False, "hard_swish", 1),
    (3, 184, 80, False, "hard_swish", 1),
    (3, 184, 80, False, "hard_swish", 1),
    (3, 480, 112, True, "hard_swish", 1),
    (3, 672, 112, True, "hard_swish", 1),
    (5, 672, 160, True, "hard_swish", 2),
    (5, 960, 160, True, "hard_swish", 1),
    (5, 960, 160, True, "hard_swish", 1),
]
MOBILENET_V3_SMALL_BLOCKS = [
    (3, 16, 16, True, "relu", 2),
    (3, 72, 24, False, "relu", 2),
    (3, 88, 24, False, "relu", 1),
    (5, 96, 40, True, "hard_swish", 2),
    (5, 240, 40, True, "hard_swish", 1),
    (5, 240, 40, True, "hard_swish", 1),
    (5, 120, 48, True, "hard_swish", 1),
    (5, 144, 48, True, "hard_swish", 1),
    (5, 288, 96, True, "hard_swish", 2),
    (5, 576, 96, True, "hard_swish", 1),
    (5, 576, 96, True, "hard_swish", 1),
]


def mobilenet_v1(*, size: Size = 224, classes: int = 1000, seed: int = 0, width: float = 1.0) -> Graph:
    """MobileNetV1 (Howard et al. 2017, arXiv:1704.04861, table 1), its channels times `width`."""
    graph = RandomGraph("mobilenet_v1", size, seed)
    x = graph.conv("stem", INPUT, divisible(32 * width), 2)
    for index, (channels, stride) in enumerate(MOBILENET_V1_BLOCKS, 1):
        x = graph.depthwise(f"block{index}/depthwise", x, stride)
        x = graph.pointwise(f"block{index}/pointwise", x, divisible(channels * width))
    graph.classifier(graph.mean(x), classes)
    return graph


def mobilenet_v2(*, size: Size = 224, classes: int = 1000, seed: int = 0) -> Graph:
    """MobileNetV2 1.0 (Sandler et al. 2018, arXiv:1801.04381, table 2)."""
    return staged(RandomGraph("mobilenet_v2", size, seed), MOBILENET_V2_STAGES, classes)


def mobilenet_v3_large(*, size: Size = 224, classes: int = 1000, seed: int = 0) -> Graph:
    """MobileNetV3-Large 1.0 (Howard et al. 2019, arXiv:1905.02244, table 1)."""
    return mobilenet_v3(RandomGraph("mobilenet_v3_large", size, seed), MOBILENET_V3_LARGE_BLOCKS, 960, 1280, classes)


def mobilenet_v3_small(*, size: Size = 224, classes: int = 1000, seed: int = 0) -> Graph:
    """MobileNetV3-Small 1.0 (Howard et al. 2019, arXiv:1905.02244, table 2)."""
    return mobilenet_v3(RandomGraph("mobilenet_v3_small", size, seed), MOBILENET_V3_SMALL_BLOCKS, 576, 1024, classes)


def efficientnet_b0(*, size: Size = 224, classes: int = 1000, seed: int = 0) -> Graph:
    """EfficientNet-B0 (Tan and Le 2019, arXiv:1905.11946, table 1)."""
    return staged(RandomGraph("efficientnet_b0", size, seed, activation="silu"), EFFICIENTNET_STAGES, classes, squeeze_ratio=0.25)


def efficientnet_lite0(*, size: Size = 224, classes: int = 1000, seed: int = 0) -> Graph:
    """EfficientNet-Lite0: B0 without squeeze-and-excitation, with relu6 (tensorflow/tpu, efficientnet/lite)."""
    return staged(RandomGraph("efficientnet_lite0", size, seed), EFFICIENTNET_STAGES, classes)


def mnasnet(*, size: Size = 224, classes: int = 1000, seed: int = 0) -> Graph:
    """MnasNet-B1 1.0, without squeeze-and-excitation (Tan et al. 2018, arXiv:1807.11626)."""
    return staged(RandomGraph("mnasnet", size, seed, activation="relu"), MNASNET_STAGES, classes)


def ds_cnn(*, size: Size = (49, 10), classes: int = 12, seed: int = 0) -> Graph:
    """The small DS-CNN that spots keywords in 49 windows of 10 coefficients (Zhang et al. 2017, arXiv:1711.07128; MLPerf Tiny's)."""
    graph = RandomGraph("ds_cnn", size, seed, channels=1, activation="relu")
    x = graph.conv("stem", INPUT, 64, 2, kernel=(10, 4))
    for index in range(1, 5):
        x = graph.depthwise(f"block{index}/depthwise", x)
        x = graph.pointwise(f"block{index}/pointwise", x, 64)
    graph.classifier(graph.mean(x), classes)
    return graph


def vww(*, size: Size = 96, classes: int = 2, seed: int = 0) -> Graph:
    """Visual wake words, is there a person: MobileNetV1 0.25 (Chowdhery et al. 2019, arXiv:1906.05721; MLPerf Tiny's)."""
    graph = mobilenet_v1(size=size, classes=classes, seed=seed, width=0.25)
    graph.name = "vww"
    return graph


def deeplab_v3(*, size: Size = 513, classes: int = 21, seed: int = 0) -> Graph:
    """DeepLabV3 on MobileNetV2, one pixel of features to 16 of the image: the last stage is dilated instead of strided
    (Chen et al. 2017, arXiv:1706.05587; Sandler et al. 2018, table 7). Scores of each class for each pixel."""
    graph = RandomGraph("deeplab_v3", size, seed)
    features = staged_features(graph, MOBILENET_V2_STAGES, least_scale=16)
    graph.activation = "relu"
    (_, height, width, _), (_, rows, cols, _) = graph.input_shape, graph.shapes[features]
    mean = graph.add(GlobalAveragePool2D("image_pool/mean", (features,), keepdims=True))
    image = graph.add(ResizeBilinear("image_pool/resize", (graph.pointwise("image_pool", mean, 256),), size=(rows, cols)))
    joined = graph.add(Concatenate("concatenate", (image, graph.pointwise("aspp", features, 256))))
    scores = graph.pointwise("logits", graph.pointwise("project", joined, 256), classes, activation=None)
    graph.add(ResizeBilinear("resize", (scores,), size=(height, width), align_corners=True))
    return graph


def staged(graph: RandomGraph, stages: Sequence[tuple], classes: int, *, squeeze_ratio: float = 0) -> Graph:
    """Stages of equal inverted residual blocks, 1x1 to 1280 channels, classifier."""
    x = staged_features(graph, stages, squeeze_ratio=squeeze_ratio)
    graph.classifier(graph.mean(graph.pointwise("head", x, 1280)), classes)
    return graph


def staged_features(graph: RandomGraph, stages: Sequence[tuple], *, squeeze_ratio: float = 0, least_scale: int = 32) -> str:
    """The stages alone. Where the image would become smaller than 1 / least_scale, later layers are dilated instead."""
    x = graph.conv("stem", INPUT, 32, 2)
    index, scale, dilation = 0, 2, 1
    for expansion, channels, blocks, first_stride, kernel in stages:
        for stride in (first_stride, *[1] * (blocks - 1)):
            index += 1
            in_channels = graph.shapes[x][3]
            is_dilated = scale * stride > least_scale
            x = graph.inverted_residual(
                f"block{index}",
                x,
                expansion * in_channels,
                channels,
                stride=1 if is_dilated else stride,
                kernel=kernel,
                dilation=dilation,
                squeeze=int(squeeze_ratio * in_channels),
                squeeze_activation=graph.activation,
                gate="sigmoid",
            )
            scale, dilation = (scale, dilation * stride) if is_dilated else (scale * stride, dilation)
    return x


def mobilenet_v3(graph: RandomGraph, blocks: Sequence[tuple], head: int, features: int, classes: int) -> Graph:
    graph.activation = "hard_swish"
    x = graph.conv("stem", INPUT, 16, 2)
    for index, (kernel, hidden, channels, excited, graph.activation, stride) in enumerate(blocks, 1):
        squeeze = divisible(hidden / 4) if excited else 0
        x = graph.inverted_residual(f"block{index}", x, hidden, channels, stride=stride, kernel=kernel, squeeze=squeeze)
    x = graph.mean(graph.pointwise("head", x, head, "hard_swish"))
    graph.classifier(graph.dense("features", x, features, "hard_swish"), classes)
    return graph


ARCHITECTURES: dict[str, Callable[..., Graph]] = {
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3_large": mobilenet_v3_large,
    "mobilenet_v3_small": mobilenet_v3_small,
    "efficientnet_b0": efficientnet_b0,
    "efficientnet_lite0": efficientnet_lite0,
    "mnasnet": mnasnet,
    "ds_cnn": ds_cnn,
    "vww": vww,
    "deeplab_v3": deeplab_v3,
}
