"""`fastdw explain`: how a layer would be computed here, and why."""

from __future__ import annotations

import argparse

from fastdw.cli.text import count


def add(commands: argparse._SubParsersAction) -> None:
    text = "how a layer would be computed here, and why"
    parser = commands.add_parser("explain", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("words", nargs="+", metavar="WORD", help="the layer: depthwise 56x56x128 kernel=3 stride=2 padding=same")
    parser.add_argument("--threads", type=count, metavar="N", help="threads the call may use (all)")
    parser.set_defaults(command=explain)


def explain(options: argparse.Namespace) -> None:
    from fastdw import planner, thread_pool
    from fastdw.kernels.spec import registry
    from fastdw.machine import host
    from fastdw.tuning import shapes, space

    problem = shapes.problem(" ".join(options.words))
    threads = min(options.threads or thread_pool.thread_limit(), thread_pool.thread_limit())
    plan = planner.plan(problem, threads)
    print(plan)
    is_kept = registry()[plan.kernel].task.is_kept(plan.compiled_shape)
    print(f"  compiled  {'yes, it is in the kernel cache' if is_kept else 'on first use'}")
    default = planner.default_plan(problem, threads, host())
    if (plan.kernel, plan.shape, plan.blocking, plan.threads) != (default.kernel, default.shape, default.blocking, default.threads):
        default_threads = f"{default.threads} thread{'s' * (default.threads > 1)}"
        print(f"  default   {default.id}, {default.blocking.rows} rows x {default.blocking.channels} channels a task, {default_threads}")
    serving, refusals = planner.candidates(problem, host())
    print(f"  kernels   {', '.join(spec.name for spec in serving)} serve it" + "".join(f"; {refusal}" for refusal in refusals))
    every = space.every_plan(problem, threads, host())
    print(f"  tuning    {len(every)} plans of {len({(one.kernel, one.shape) for one in every})} tiles could be tried")
