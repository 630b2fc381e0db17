"""NumPy's matmul, that is its BLAS, with bias and relu6 in place: pointwise and dense layers."""

from __future__ import annotations

import numpy as np

from bench.data import aligned_copy, aligned_empty
from bench.layers import Layer
from bench.peers import Runner, Unavailable

DISTRIBUTION = "numpy"


def make(layer: Layer, weights: list[np.ndarray], biases: list[np.ndarray], threads: int) -> Runner:
    if layer.kind not in ("pointwise", "dense"):
        raise Unavailable("matrix products only")
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise Unavailable("threadpoolctl is not installed, so the threads of BLAS cannot be set") from None
    threadpool_limits(threads, user_api="blas")

    x = aligned_empty((layer.height * layer.width, layer.in_channels))
    outputs = [aligned_empty((len(x), layer.out_channels)) for _ in weights]
    copies = [(aligned_copy(weight), bias, y) for weight, bias, y in zip(weights, biases, outputs, strict=True)]

    def call():
        for weight, bias, y in copies:
            np.matmul(x, weight, out=y)
            np.add(y, bias, out=y)
            if layer.activation == "relu6":
                np.clip(y, 0, 6, out=y)

    return Runner(
        name="blas",
        form="NHWC, matmul",
        call=call,
        set_input=lambda new: np.copyto(x, new.reshape(x.shape)),
        output_nhwc=lambda k: outputs[k].reshape(layer.out_shape),
    )
