"""Who takes part: fastdw without a profile and with the one in use; and, with the same weights, LiteRT, ONNX Runtime and OpenVINO,
each in the form that suits it best.

Adding one is adding a function make(graph, threads) -> Runner.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

import fastdw
from bench.data import aligned_copy, aligned_empty
from bench.peers import Runner, fastest, nchw, nhwc
from fastdw import profile_files
from fastdw.networks import Graph, Network


def make_fastdw(graph: Graph, threads: int) -> Runner:
    return runner_of(graph, threads, "NHWC, default plans", "off")


def make_tuned(graph: Graph, threads: int) -> Runner:
    if not any(entry.is_current for _, profile in profile_files.in_effect() for entry in profile.entries.values()):
        raise ImportError("there is no profile: fastdw autotune makes one")
    return runner_of(graph, threads, "NHWC, tuned plans", None)


def runner_of(graph: Graph, threads: int, form: str, profile: str | None) -> Runner:
    fastdw.use_profile(profile)
    network = Network(graph, threads=threads)
    fastdw.use_profile(None)
    x, y = aligned_empty(network.input_shape), aligned_empty(network.output_shape)
    return Runner("fastdw", form, partial(network, x, y), partial(np.copyto, x), lambda _: y)


def make_litert(graph: Graph, threads: int) -> Runner:
    from ai_edge_litert.interpreter import Interpreter

    from bench.networks.to_tflite import to_tflite

    interpreter = Interpreter(model_content=to_tflite(graph), num_threads=threads)
    interpreter.allocate_tensors()
    x, y = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    return Runner("litert", "NHWC, XNNPACK", interpreter.invoke, partial(interpreter.set_tensor, x), lambda _: interpreter.get_tensor(y))


def make_onnxruntime(graph: Graph, threads: int) -> Runner:
    from bench.networks.to_onnx import nchw_shape, to_onnx
    from bench.peers.peer_onnxruntime import bound_call, session_of

    session = session_of(to_onnx(graph), threads)
    x, y = aligned_empty(tuple(nchw_shape(graph.input_shape))), aligned_empty(tuple(nchw_shape(graph.output_shape)))
    return Runner("onnxruntime", "NCHWc", bound_call(session, x, [y]), lambda new: np.copyto(x, nchw(new)), lambda _: image(y))


def make_openvino(graph: Graph, threads: int) -> Runner:
    import openvino

    from bench.networks.to_onnx import to_onnx
    from bench.networks.to_tflite import to_tflite
    from bench.peers.peer_openvino import request_of

    def runner(form: str, content: bytes, suffix: str, to_input: Callable, to_output: Callable) -> Runner:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"model{suffix}"
            path.write_bytes(content)
            request, x, (y,) = request_of(core, core.read_model(path), threads)
        call = partial(request.infer, share_outputs=True)
        return Runner("openvino", form, call, lambda new: np.copyto(x, to_input(new)), lambda _: to_output(y))

    core = openvino.Core()
    onnx_form = runner("from ONNX", to_onnx(graph).SerializeToString(), ".onnx", nchw, image)
    return fastest([onnx_form, runner("from TFLite", to_tflite(graph), ".tflite", aligned_copy, lambda y: y)], seconds_each=0.5)


def image(y: np.ndarray) -> np.ndarray:
    return nhwc(y) if y.ndim == 4 else y


CONTESTANTS: dict[str, Callable[[Graph, int], Runner]] = {
    "fastdw": make_fastdw,
    "fastdw tuned": make_tuned,
    "litert": make_litert,
    "onnxruntime": make_onnxruntime,
    "openvino": make_openvino,
}
