"""fastdw.autotune: from what a caller names to a tuning run and a profile in use."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any

from fastdw import arguments, explaining, profile_files
from fastdw.problem import Problem
from fastdw.profile import COLD, RESIDENCIES, Profile, ProfileError
from fastdw.tuning import shapes
from fastdw.tuning.progress import Bar
from fastdw.tuning.report import TuningReport
from fastdw.tuning.session import Progress, Session, Settings


def autotune(
    problems_or_network: Any = "mobilenet_v2",
    *,
    budget_seconds: float = 60.0,
    threads: int | Sequence[int] | None = None,
    residency: str = COLD,
    resume: bool = False,
    hint: str | PathLike | None = None,
    progress: bool = True,
) -> TuningReport:
    """Measure plans for problems on this machine, keep those quicker than the defaults in its profile, and use them from now on.

    The bits of no result change. Candidates run in a process of their own. Each problem is kept as soon as it is done.

    Args:
      problems_or_network: the name of an architecture, the path of a model, a networks.Graph; or a list of problems, each a
        fastdw.problem.Problem or words such as "depthwise 56x56x128 kernel=3 stride=2".
      budget_seconds: how long to measure; compiling is not counted. 0 measures nothing.
      threads: numbers of threads to tune for; None: 1, and as many as calls use by default.
      residency: "cold" (weights come from memory, as in a network) or "warm" (one layer again and again); where it is not
        searched a plan must not be slower either.
      resume: leave out what the profile holds already.
      hint: a profile, of another machine perhaps, whose plans are tried first.
      progress: show a bar on the standard error.

    Returns:
      A TuningReport: str() of it is a table.

    Raises:
      TypeError, ValueError: an argument is not what it should be; ProfileError, a ValueError: the profile cannot be written.
    """
    session = make_session(budget_seconds, threads, residency, resume, hint, Bar() if arguments.flag(progress, "progress") else Progress())
    try:
        asked, network, name = targets(session, problems_or_network)
        report = session.run(asked, network, name)
    finally:
        session.worker.end()
    reload_profile()
    return report


def make_session(budget_seconds, threads, residency, resume, hint, progress: Progress) -> Session:
    """Checks everything that can be checked before minutes are spent."""
    wanted = "seconds, 0 or more"
    seconds = arguments.real(budget_seconds, "budget_seconds", wanted)
    if not 0 <= seconds < 1e9:
        raise arguments.error("budget_seconds", arguments.shown(budget_seconds), wanted)
    if residency not in RESIDENCIES:
        raise arguments.error("residency", arguments.shown(residency), " or ".join(RESIDENCIES))
    path = profile_files.user_path()
    resume = arguments.flag(resume, "resume")
    settings = Settings(seconds, thread_counts(threads), residency, resume, path, hint_of(hint))
    if seconds > 0:
        profile_files.check_writable(path)
    return Session(settings, progress)


def thread_counts(threads: int | Iterable[int] | None) -> list[int]:
    from fastdw import thread_pool

    limit = thread_pool.thread_limit()
    if threads is None:
        return sorted({1, limit})
    counts = [arguments.integer(count, "threads", 1) for count in (threads if isinstance(threads, Iterable) else [threads])]
    if not counts or max(counts) > limit:
        raise arguments.error("threads", arguments.shown(threads), f"numbers from 1 to {limit}, the threads that can be used")
    return sorted(set(counts))


def hint_of(hint: str | PathLike | None) -> Profile | None:
    if hint is None:
        return None
    path = arguments.path(hint, "hint")
    try:
        return profile_files.read(path)
    except FileNotFoundError:
        raise ProfileError(f"{hint}: no such file") from None


def targets(session: Session, what: Any) -> tuple[list[tuple[Problem, int]], str, str]:
    """(problems with threads, how the worker finds the network or "", its name)"""
    if isinstance(what, Problem):
        what = [what]
    if isinstance(what, (list, tuple)):
        problems = [one if isinstance(one, Problem) else shapes.problem(one) for one in what]
        return [(problem, threads) for problem in problems for threads in session.settings.threads], "", ""
    from fastdw.networks import Graph, load_graph

    if isinstance(what, Graph):
        network, name = ":" + base64.b64encode(pickle.dumps(what)).decode(), what.name
    elif isinstance(what, (str, PathLike)):
        network, name = str(what), load_graph(what).name  # an unknown name is an error here, not in the worker
    else:
        raise arguments.wrong_type(
            "problems_or_network", what, "the name of an architecture, a model's path, a Graph or a list of problems"
        )
    return session.problems_of(network), network, name


def reload_profile() -> None:
    """What was just written counts from now on."""
    profile_files.forget()
    explaining.forget_plans()
