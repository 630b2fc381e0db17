"""What threads that wait cost, by the variable that says how they wait: a fresh process for each line of the table.

    python -m bench.waiting

A pointwise layer of 28x28x64 to 96 channels on two threads, prepared. Processor time: of this process, over a sleep right after a
call. Beside another: the same calls while another process, a plain loop, keeps one core busy. Means of two seconds of calls.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

CALL_SECONDS, SLEEPS, SLEEP_SECONDS = 2.0, 12, 0.05
SETTINGS = (
    {"NUMBA_THREADING_LAYER": "omp"},
    {"NUMBA_THREADING_LAYER": "omp", "OMP_WAIT_POLICY": "active"},
    {"NUMBA_THREADING_LAYER": "omp", "GOMP_SPINCOUNT": "10000"},
    {"NUMBA_THREADING_LAYER": "omp", "OMP_WAIT_POLICY": "passive"},
    {"NUMBA_THREADING_LAYER": "workqueue"},
)


def figures() -> dict[str, float]:
    """Seconds, in this process."""
    import numpy as np

    import fastdw

    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((1, 28, 28, 64), np.float32), rng.standard_normal((64, 96), np.float32)
    layer = fastdw.prepare(fastdw.pointwise_conv2d, x.shape, weight, threads=2)
    out = np.empty(layer.out_shape, np.float32)
    calls(layer, x, out)
    waited = [processor_time_of_a_sleep(layer, x, out) for _ in range(SLEEPS)]
    found = {"waiting": statistics.median(waited), "alone": calls(layer, x, out)}
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.2)
        return found | {"beside another": calls(layer, x, out)}
    finally:
        busy.kill()
        busy.wait()


def calls(layer, x, out) -> float:
    """The mean of calls in a row, over many time slices of the system."""
    seconds, end = [], time.perf_counter() + CALL_SECONDS
    while (start := time.perf_counter()) < end:
        layer(x, out)
        seconds.append(time.perf_counter() - start)
    return statistics.mean(seconds)


def processor_time_of_a_sleep(layer, x, out) -> float:
    layer(x, out)
    start = time.process_time()
    time.sleep(SLEEP_SECONDS)
    return time.process_time() - start


def main() -> None:
    if "--figures" in sys.argv:
        print(json.dumps(figures()))
        return
    print("| set | processor time after the last call, ms | a call alone, us | a call beside a busy process, us |")
    print("|---|---:|---:|---:|")
    for setting in SETTINGS:
        run = subprocess.run(
            [sys.executable, "-m", "bench.waiting", "--figures"], env=os.environ | setting, capture_output=True, text=True, check=True
        )
        found = json.loads(run.stdout.splitlines()[-1])
        shown = ", ".join(f"`{name}={value}`" for name, value in setting.items())
        print(f"| {shown} | {1e3 * found['waiting']:.2f} | {1e6 * found['alone']:.0f} | {1e6 * found['beside another']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
