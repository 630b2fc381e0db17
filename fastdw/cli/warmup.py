"""`fastdw warmup`: compile and keep what a network needs, so that nothing is compiled while it serves."""

from __future__ import annotations

import argparse
import os
from time import perf_counter

from fastdw.cli.targets import add_targets, counts, target


def add(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "warmup",
        help="compile and keep what a network needs",
        description="Compile and keep what a network needs. With FASTDW_NO_COMPILE=1 calls then refuse to compile anything else.",
    )
    add_targets(parser)
    parser.add_argument("--threads", type=counts, metavar="N,...", help="numbers of threads to prepare for (1 and all)")
    parser.set_defaults(command=warmup)


def warmup(options: argparse.Namespace) -> None:
    from fastdw import jit, kernel_cache, launch, program
    from fastdw.tuning.tuner import thread_counts

    os.environ.pop("FASTDW_NO_COMPILE", None)  # compiling is what was asked for
    what = target(options)
    start = perf_counter()
    launch.load_all()
    program.load_all()
    for threads in thread_counts(options.threads):
        compile_for(what, threads)
    compiled = len(jit.compilations())
    place = f"kept in {kernel_cache.directory()}" if kernel_cache.directory() else "not kept: there is no kernel cache"
    print(f"{compiled} kernels compiled in {perf_counter() - start:.1f} s, {place}")


def compile_for(what, threads: int) -> None:
    """Compile for a list of problems, or for a network, which is run once."""
    import numpy as np

    from fastdw import planner
    from fastdw.kernels.spec import registry
    from fastdw.networks import Network, load_graph

    if isinstance(what, list):
        for problem in what:
            plan = planner.plan(problem, threads)
            registry()[plan.kernel].task.pointer(plan.compiled_shape)
        return
    network = Network(load_graph(what), threads=threads)
    network(np.zeros(network.input_shape, np.float32))
