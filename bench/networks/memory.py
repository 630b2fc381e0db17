"""What networks take beside LiteRT's: memory between layers, resident memory, and the time from the start of a process to the first result.

    python -m bench.networks.memory [--networks NAME,...] [--runs N] [--json FILE]

Both read the same .tflite file, each in processes of its own on one thread; fastdw's kernels are in its cache. Scratch is what lies
between layers: fastdw's `Network.scratch_bytes`, in strips where these pay and without; LiteRT's arena, which is from the first to the
last byte of the tensors that its own kernels write, and of its copy of the input, which fastdw reads where it lies. With XNNPACK, which
the other figures of LiteRT are with, that memory is not told.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import tempfile
from pathlib import Path

from bench import cold_start, environment
from bench.networks.__main__ import names_of
from bench.networks.to_tflite import to_tflite
from fastdw.networks import ARCHITECTURES, Network

FASTDW = """
import numpy as np
from fastdw.networks import load_tflite
network = load_tflite({path!r}, threads=1)
network(np.zeros(network.input_shape, np.float32))
"""

LITERT = """
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter({path!r}, num_threads=1)
interpreter.allocate_tensors()
tensor = interpreter.get_input_details()[0]
interpreter.set_tensor(tensor["index"], np.zeros(tensor["shape"], np.float32))
interpreter.invoke()
interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
"""

NUMPY = "import numpy as np\nnp.zeros(1)"
COLUMNS = ("fastdw, MB", "not fused", "LiteRT, MB", "fastdw / LiteRT", "fastdw peak, MB", "LiteRT peak", "fastdw first, ms", "LiteRT first")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.networks.memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", type=names_of(ARCHITECTURES), default=list(ARCHITECTURES), metavar="NAME,...", help="default: all")
    parser.add_argument("--runs", type=int, default=5, help="processes a figure (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="for bench.page")
    options = parser.parse_args(arguments)
    print(f"{'network':<24}" + "".join(f"{column:>18}" for column in COLUMNS))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ["Python and NumPy alone", *options.networks]:
            found.append(measure(name, Path(folder), options.runs))
            print(f"{name:<24}" + "".join(f"{cell:>18}" for cell in cells(found[-1])), flush=True)
    if options.json:
        command = f"python -m bench.networks.memory {shlex.join(sys.argv[1:])}"
        facts = {"suite": "memory", "command": command, "machine_info": environment.describe(), "networks": found}
        options.json.write_text(json.dumps(facts))


def measure(name: str, folder: Path, runs: int) -> dict:
    if name not in ARCHITECTURES:
        return {"network": name, "scratch": {}, "processes": dict.fromkeys(("fastdw", "litert"), in_processes(NUMPY, folder, runs))}
    graph = ARCHITECTURES[name]()
    path = folder / f"{name}.tflite"
    path.write_bytes(to_tflite(graph))
    scratch = {
        "fastdw": Network(graph, threads=1).scratch_bytes,
        "not fused": Network(graph, threads=1, fuse=False).scratch_bytes,
        "litert": arena_bytes(path),
    }
    cold_start.run(FASTDW.format(path=str(path)), str(folder))
    sources = {"fastdw": FASTDW, "litert": LITERT}
    processes = {who: in_processes(source.format(path=str(path)), folder, runs) for who, source in sources.items()}
    return {"network": name, "scratch": scratch, "processes": processes}


def in_processes(source: str, folder: Path, runs: int) -> dict:
    facts = [cold_start.run(source, str(folder)) for _ in range(runs)]
    return {"peak_bytes": max(one["peak_bytes"] for one in facts), "seconds": statistics.median(one["to_result"] for one in facts)}


def arena_bytes(path: Path) -> int:
    """Of a LiteRT without XNNPACK: from the first to the last byte of the tensors that operators write, and of the input."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path), num_threads=1, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    written = {detail["index"] for detail in interpreter.get_input_details()}
    written |= {int(index) for operator in interpreter._get_ops_details() for index in operator["outputs"]}
    arrays = [interpreter.tensor(index)() for index in written]
    return max(array.ctypes.data + array.nbytes for array in arrays) - min(array.ctypes.data for array in arrays)


def cells(found: dict) -> list[str]:
    """Of COLUMNS; empty where a figure makes no sense."""
    scratch, processes = found["scratch"], found["processes"]
    names = ("fastdw", "not fused", "litert")
    sizes = [f"{scratch[name] / 2**20:.2f}" if name in scratch else "" for name in names]
    share = f"{scratch['fastdw'] / scratch['litert']:.2f}" if scratch else ""
    peaks = [f"{processes[who]['peak_bytes'] / 2**20:.0f}" if who in processes else "" for who in ("fastdw", "litert")]
    times = [f"{1e3 * processes[who]['seconds']:.0f}" if who in processes else "" for who in ("fastdw", "litert")]
    return [*sizes, share, *peaks, *times]


if __name__ == "__main__":
    main()
