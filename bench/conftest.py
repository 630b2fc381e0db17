"""What the pytest-benchmark suites share: numbers of threads, times taken in turns, and what their JSON says of machine and command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import asdict

import pytest

from bench import environment, peers
from fastdw.limits import usable_cores

THREADS = sorted({1, usable_cores()})


class Replay:
    """A timer that tells times taken before: so contestants can take turns, and pytest-benchmark still reports each of them."""

    def __init__(self) -> None:
        self.readings: Iterator[float] = iter(())

    def load(self, seconds: Iterable[float]) -> None:
        self.readings = iter([reading for one in seconds for reading in (0.0, one)])

    def __call__(self) -> float:
        return next(self.readings)


REPLAY = Replay()


@pytest.fixture(params=THREADS, ids="{}-threads".format)
def threads(request):
    return request.param


@pytest.fixture
def seconds(request) -> float:
    """How long to measure all contestants of one group together: --benchmark-max-time."""
    option = request.config.getoption
    return 0.0 if option("benchmark_disable") else float(option("benchmark_max_time"))


@pytest.fixture
def replay(benchmark):
    """replay(group, seconds, facts): what pytest-benchmark is to report. The test is marked with the timer REPLAY."""

    def replay(group: str, seconds: tuple[float, ...], **facts) -> None:
        benchmark.group = group
        REPLAY.load(seconds)
        benchmark.pedantic(lambda: None, rounds=len(seconds))
        benchmark.extra_info.update(facts)

    return replay


def pytest_benchmark_update_machine_info(config, machine_info):
    from fastdw import probes

    levels = [asdict(level) for level in probes.levels()]
    machine_info.update(environment.describe() | {"levels": levels, "peers": {name: peers.version(name) for name in peers.names()}})


def pytest_benchmark_update_json(config, benchmarks, output_json):
    output_json["command"] = f"pytest {shlex.join(map(str, config.invocation_params.args))}"
