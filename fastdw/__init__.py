"""fastdw: depthwise and pointwise convolution for CPUs, on Numba, in NHWC."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from fastdw import forks  # watches for forks from here on

if TYPE_CHECKING:
    from fastdw import cost, weights
    from fastdw.conv1d import depthwise_conv1d, separable_conv1d
    from fastdw.conv3d import depthwise_conv3d
    from fastdw.decoupling import Decoupled, decouple
    from fastdw.explaining import explain, use_profile
    from fastdw.functional import (
        conv2d,
        dense,
        depthwise_conv2d,
        global_average_pool2d,
        inverted_residual,
        pack_conv2d,
        pack_depthwise,
        pack_pointwise,
        pointwise_conv2d,
        separable_conv2d,
    )
    from fastdw.gather_blocks import SqueezeExcite
    from fastdw.prepared import prepare
    from fastdw.streaming import Stream, stream
    from fastdw.tuning import TuningReport, autotune
    from fastdw.weights import fold_batch_norm

__version__ = "0.1.0"
__all__ = [
    "Decoupled",
    "SqueezeExcite",
    "Stream",
    "TuningReport",
    "autotune",
    "conv2d",
    "cost",
    "decouple",
    "dense",
    "depthwise_conv1d",
    "depthwise_conv2d",
    "depthwise_conv3d",
    "explain",
    "fold_batch_norm",
    "global_average_pool2d",
    "inverted_residual",
    "pack_conv2d",
    "pack_depthwise",
    "pack_pointwise",
    "pointwise_conv2d",
    "prepare",
    "separable_conv1d",
    "separable_conv2d",
    "stream",
    "use_profile",
    "weights",
]
_ELSEWHERE = {
    "Decoupled": "decoupling",
    "decouple": "decoupling",
    "depthwise_conv1d": "conv1d",
    "depthwise_conv3d": "conv3d",
    "separable_conv1d": "conv1d",
    "SqueezeExcite": "gather_blocks",
    "Stream": "streaming",
    "stream": "streaming",
    "TuningReport": "tuning",
    "autotune": "tuning",
    "explain": "explaining",
    "prepare": "prepared",
    "fold_batch_norm": "weights",
    "use_profile": "explaining",
}
_MODULES = ["cost", "weights"]


def __getattr__(name: str):
    """Public names are imported when first asked for: importing fastdw imports neither NumPy nor Numba."""
    if name not in __all__:
        raise AttributeError(f"module 'fastdw' has no attribute {name!r}")
    with forks.WHOLE:
        if name in _MODULES:
            return import_module(f"fastdw.{name}")
        value = getattr(import_module(f"fastdw.{_ELSEWHERE.get(name, 'functional')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
