"""What a fresh process pays: importing fastdw, the first result with kernels in the cache, a network without any.

    python -m bench.cold_start [--runs N] [--network mobilenet_v2] [--list]

Each figure is of processes of their own, on a cache directory of their own. "To the result" counts from before the process starts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable

IMPORT = "import fastdw"

FIRST_CALL = """
import numpy as np
import fastdw
x, weight = np.ones((1, 112, 112, 32), np.float32), np.ones((3, 3, 32), np.float32)
fastdw.depthwise_conv2d(x, weight, padding="same")
"""

NETWORK = """
import numpy as np
from fastdw.networks import ARCHITECTURES, Network
network = Network(ARCHITECTURES["{name}"]())
network(np.ones(network.input_shape, np.float32))
"""

# VmHWM, in kB: what resource tells is that of the parent where this was larger
REPORT = """
end = time.monotonic()
import json, sys
lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
facts = {"seconds": end - start, "end": end, "numba": "numba" in sys.modules, "peak_bytes": 1024 * int(lines["VmHWM"].split()[0])}
import fastdw.jit
facts["compiled"] = fastdw.jit.compilations()
print(json.dumps(facts))
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cold_start", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10, help="processes a figure (default: 10)")
    parser.add_argument("--network", default="mobilenet_v2")
    parser.add_argument("--list", action="store_true", help="name the kernels that the network compiles")
    options = parser.parse_args(arguments)
    network = NETWORK.format(name=options.network)

    with tempfile.TemporaryDirectory() as cache:
        imports = [run(IMPORT, cache) for _ in range(options.runs)]
        run(FIRST_CALL, cache)
        first_calls = [run(FIRST_CALL, cache) for _ in range(options.runs)]
        run(network, cache)
        cached = [run(network, cache) for _ in range(options.runs)]
    cold = [in_fresh_cache(network) for _ in range(max(options.runs // 3, 1))]

    imported = "imports Numba" if any(facts["numba"] for facts in imports) else "imports no Numba"
    print(f"import fastdw: {spread(facts['seconds'] for facts in imports)}, {imported}, {memory(imports)}")
    for title, runs in (
        ("first call, its kernels cached", first_calls),
        (f"{options.network}, its kernels cached", cached),
        (f"{options.network}, empty cache", cold),
    ):
        compilations = max(len(facts["compiled"]) for facts in runs)
        print(f"{title}: {spread(facts['to_result'] for facts in runs)} to the result, {compilations} compilations, {memory(runs)}")
    if options.list:
        print("\n".join(f"  {name}" for name in cold[0]["compiled"]))


def run(source: str, cache: str) -> dict:
    """Facts about a process that runs the source with this cache directory."""
    environment = {**os.environ, "FASTDW_CACHE_DIR": cache}
    program = f"import time\nstart = time.monotonic()\n{source}\n{REPORT}"
    start = time.monotonic()
    output = subprocess.run([sys.executable, "-c", program], env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    facts = json.loads(output.splitlines()[-1])
    return facts | {"to_result": facts["end"] - start}


def in_fresh_cache(source: str) -> dict:
    with tempfile.TemporaryDirectory() as cache:
        return run(source, cache)


def spread(seconds: Iterable[float]) -> str:
    milliseconds = [1e3 * value for value in seconds]
    return f"{min(milliseconds):.0f} ms (median {statistics.median(milliseconds):.0f})"


def memory(runs: list[dict]) -> str:
    return f"peak {max(facts['peak_bytes'] for facts in runs) / 2**20:.0f} MB"


if __name__ == "__main__":
    main()
