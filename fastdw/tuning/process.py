"""The worker's process, from the side of the one who asks: started when first needed, and anew when it has died."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from fastdw.kernels.spec import Plan
from fastdw.profile import Choice
from fastdw.tuning.trial import CORRECT, RUNTIME, TIMEOUT, Trial

START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from fastdw.tuning.worker import serve; serve()"
CHECK_SECONDS = 120  # for a compilation and one call, on a slow device
OTHER_SECONDS = 300


class WorkerDied(RuntimeError):
    """The process ended without an answer."""


class WorkerSilent(RuntimeError):
    """The process gave no answer in time."""


class WorkerFailed(RuntimeError):
    """The process answered with an error."""


class WorkerProcess:
    """call(operation, ...) asks the worker. Compilations and seconds are summed over all processes that there were."""

    def __init__(self, command: Sequence[str] | None = None):
        self.command = command or [sys.executable, "-c", START, json.dumps(sys.path)]
        self.process: subprocess.Popen[bytes] | None = None
        self.unread = b""
        self.compiled, self.compile_seconds, self.layer = 0, 0.0, ""
        self._of_this_process = (0, 0.0)

    def call(self, operation: str, /, seconds_to_answer: float = OTHER_SECONDS, **arguments: Any) -> Any:
        """
        Raises:
          WorkerDied, WorkerSilent: and the process is gone. WorkerFailed: it goes on.
        """
        answer = self._ask({"operation": operation, **arguments}, seconds_to_answer)
        if "error" in answer:
            raise WorkerFailed(f"{operation}: {answer['error']}")
        return answer["result"]

    def _ask(self, request: dict, seconds: float) -> dict:
        if self.process is None:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            line = self._line(self.process.stdout.fileno(), time.monotonic() + seconds)
            return json.loads(line)
        except WorkerSilent:
            self.end()
            raise
        except (OSError, EOFError, ValueError):  # ValueError: it was cut off in the middle of an answer
            status = self.end()
            raise WorkerDied(f"the worker died of {'signal ' + str(-status) if status < 0 else f'status {status}'}") from None
        except KeyboardInterrupt:  # its answer would be taken for that to the next request
            self.end()
            raise

    def _line(self, handle: int, end: float) -> bytes:
        while b"\n" not in self.unread:
            ready, _, _ = select.select([handle], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise WorkerSilent("the worker gave no answer in time")
            block = os.read(handle, 1 << 20)
            if not block:
                raise EOFError
            self.unread += block
        line, self.unread = self.unread.split(b"\n", 1)
        return line

    def end(self) -> int:
        """Its exit status. A worker that is asked nothing more ends by itself; one that does not is killed."""
        process, self.process, self.unread = self.process, None, b""
        self._of_this_process = (0, 0.0)
        if process is None:
            return 0
        with suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        try:
            process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()  # type: ignore[union-attr]
        return process.returncode

    def count(self) -> None:
        """Brings compiled, compile_seconds and layer up to date."""
        if self.process is None:
            return
        with suppress(WorkerDied, WorkerFailed, WorkerSilent):
            facts = self.call("facts")
            self.compiled += facts["compiled"] - self._of_this_process[0]
            self.compile_seconds += facts["compile_seconds"] - self._of_this_process[1]
            self._of_this_process = facts["compiled"], facts["compile_seconds"]
            self.layer = facts["layer"] or self.layer

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Bench:
    """A problem loaded in a worker: check and measure plans of it, whatever happens to the process."""

    def __init__(self, worker: WorkerProcess, problem: dict, threads: int):
        self.worker = worker
        self.arguments: dict[str, Any] = {"problem": problem, "threads": threads}
        self.found: dict[Plan, Trial] = {}  # what checking a plan has shown
        self.untunable = worker.call("load", **self.arguments).get("untunable", "")

    def measure(self, plans: Sequence[Plan], rounds: int, residency: str, fresh: bool) -> list[Trial]:
        """A trial of each plan, the first of which is the default."""
        for plan in plans:
            if plan not in self.found:
                self.found[plan] = self.check(plan)
        correct = [plan for plan in plans if self.found[plan].status == CORRECT]
        try:
            measured = self.worker.call(
                "measure", choices=[_choice(plan) for plan in correct], rounds=rounds, residency=residency, fresh=fresh
            )
        except (WorkerDied, WorkerSilent, WorkerFailed) as error:
            self.reload()
            lost = Trial(plans[0], RUNTIME, note=f"while several plans were timed: {error}")
            return [self.found[plan] if plan not in correct else Trial(plan, RUNTIME, note=lost.note) for plan in plans]
        by_plan, spread = dict(zip(correct, measured["samples"], strict=True)), measured["spread"]
        return [
            Trial(plan, CORRECT, tuple(by_plan[plan]), tuple(by_plan[plans[0]]), residency, spread=spread)
            if plan in by_plan
            else self.found[plan]
            for plan in plans
        ]

    def check(self, plan: Plan) -> Trial:
        try:
            answer = self.worker.call("check", CHECK_SECONDS, choice=_choice(plan))
            return Trial(plan, answer["status"], note=answer.get("note", ""))
        except WorkerFailed as error:
            return Trial(plan, RUNTIME, note=str(error))
        except (WorkerDied, WorkerSilent) as error:
            self.reload()
            return Trial(plan, TIMEOUT if isinstance(error, WorkerSilent) else RUNTIME, note=str(error))

    def reload(self) -> None:
        """Into a new process, with the plans that were found correct."""
        if self.worker.process is None:
            self.worker.call("load", **self.arguments)
            for plan, trial in self.found.items():
                if trial.status == CORRECT:
                    self.worker.call("check", CHECK_SECONDS, choice=_choice(plan))


def _choice(plan: Plan) -> dict:
    return vars(Choice.of(plan))
