"""`fastdw autotune`: the plans that suit this machine, measured once and kept in its profile."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from fastdw.cli.targets import add_targets, counts, target
from fastdw.cli.text import print_table

if TYPE_CHECKING:
    from fastdw.tuning.session import Session

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def add(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "autotune",
        help="measure the plans that suit this machine",
        description="Measure plans for a network's layers on this machine and keep those quicker than the defaults in its profile. "
        "No result changes by a bit.",
    )
    add_targets(parser)
    parser.add_argument("--budget", type=seconds, default=60.0, metavar="TIME", help="how long to measure, compiling apart: 60s, 5m (60s)")
    parser.add_argument("--threads", type=counts, metavar="N,...", help="numbers of threads to tune for (1 and all)")
    parser.add_argument(
        "--residency",
        choices=("cold", "warm"),
        default="cold",
        help="tune with weights from memory, as in a network, or on one layer again and again (cold)",
    )
    parser.add_argument("--resume", action="store_true", help="leave out what the profile holds already")
    parser.add_argument(
        "--from", dest="hint", type=Path, metavar="PROFILE", help="try the plans of this profile first, even of another machine"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be measured")
    parser.add_argument("--json", action="store_true", help="everything that was found, as JSON")
    parser.set_defaults(command=autotune)


def seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not found or not math.isfinite(float(found[1])):
        raise argparse.ArgumentTypeError(f"got {text}; expected a time such as 60s or 5m")
    return float(found[1]) * UNITS[found[2]]


def autotune(options: argparse.Namespace) -> None:
    from fastdw.profile import ProfileError
    from fastdw.tuning.progress import Bar
    from fastdw.tuning.tuner import make_session, targets

    what = target(options)
    budget = 0.0 if options.dry_run else options.budget
    session = make_session(budget, options.threads, options.residency, options.resume, options.hint, Bar())
    try:
        asked, network, name = targets(session, what)
        if options.dry_run:
            print_space(session, asked)
            return
        report = session.run(asked, network, name)
    finally:
        session.worker.end()
    unkept = [message for message in report.messages if message.startswith("not kept")]
    report.messages = [message for message in report.messages if message not in unkept]
    if options.json:
        print(json.dumps(report.to_json(), indent=1))
    else:
        print(report)
    if report.interrupted:
        raise KeyboardInterrupt
    if unkept:
        raise ProfileError(unkept[0])


def print_space(session: Session, asked: list) -> None:
    """What a run would try, and how long it might take."""
    from fastdw.profile import Choice
    from fastdw.tuning import space

    rows = [("layer", "default plan", "n", "threads", "tiles", "plans")]
    tiles = set()
    wanted = session.wanted(asked)
    for problem, threads, count in wanted:
        default, *_ = space.default_plans(problem, threads, session.machine)
        plans = space.tile_plans(default, threads, session.machine)
        tiles |= {(plan.kernel, plan.shape) for plan in plans}
        every = space.every_plan(problem, threads, session.machine)
        rows.append((problem.key, str(Choice.of(default)), f"{count}", f"{threads}", f"{len(plans)}", f"{len(every)}"))
    print_table(rows, n_text_columns=2)
    per_thread = Counter(threads for _, threads, _ in wanted)
    print(f"{len(wanted)} layers ({', '.join(f'{count} with threads={threads}' for threads, count in per_thread.items())}), "
          f"at most {len(tiles)} kernels to compile")  # fmt: skip
    print(f"profile: {session.settings.path}")
