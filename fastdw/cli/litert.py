"""LiteRT beside fastdw: the same file, for a comparison."""

from __future__ import annotations

from time import perf_counter

import numpy as np


class LiteRT:
    """A .tflite file in LiteRT. A quantised model runs on its integers there; its input and output are converted."""

    def __init__(self, path: str, threads: int | None):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise ImportError("litert: got no such package; expected it installed, by pip install ai-edge-litert") from None
        from fastdw.limits import usable_cores

        threads = threads or usable_cores()
        self._interpreter = Interpreter(model_path=path, num_threads=threads)
        self._interpreter.allocate_tensors()
        (self._input,), (self._output,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        kind = "float32" if self._input["dtype"] == np.float32 else "integers"
        self.name = f"LiteRT ({kind}, {threads} thread{'s' * (threads > 1)})"

    def set_input(self, x: np.ndarray) -> None:
        dtype, (scale, zero_point) = self._input["dtype"], self._input["quantization"]
        if dtype != np.float32:
            integers = np.iinfo(dtype)
            x = np.clip(np.round(x / np.float32(scale)) + zero_point, integers.min, integers.max).astype(dtype)
        self._interpreter.set_tensor(self._input["index"], x)

    def run_seconds(self) -> float:
        start = perf_counter()
        self._interpreter.invoke()
        return perf_counter() - start

    def output(self) -> np.ndarray:
        y, (scale, zero_point) = self._interpreter.get_tensor(self._output["index"]), self._output["quantization"]
        return y if y.dtype == np.float32 else (y.astype(np.float32) - zero_point) * np.float32(scale)
