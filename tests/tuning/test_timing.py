"""Sampling on a clock that only moves when it is told to."""

from __future__ import annotations

import gc

import pytest

from fastdw.tuning.timing import SAMPLE_SECONDS, calls_per_sample, measure, summary


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def run_of(self, seconds: float, calls: list | None = None, name: str = ""):
        def run(count: int) -> None:
            self.now += count * seconds
            if calls is not None:
                calls.append(name)

        return run


@pytest.mark.parametrize("seconds", [1e-7, 3e-6, 1e-4, 0.9e-3, 1e-3, 0.5])
def test_a_sample_takes_a_millisecond_and_is_the_time_of_one_call(seconds):
    clock = Clock()
    count = calls_per_sample(clock.run_of(seconds), clock)
    assert count * seconds >= SAMPLE_SECONDS * 0.999
    assert count == 1 or (count - 2) * seconds < SAMPLE_SECONDS
    (found,) = measure([clock.run_of(seconds)], 5, clock=clock)
    assert found == pytest.approx([seconds] * 5)


def test_contestants_take_turns_and_each_begins_a_round():
    clock, calls = Clock(), []
    found = measure([clock.run_of(0.01, calls, name) for name in "abc"], 3, clock=clock)
    assert [len(samples) for samples in found] == [3, 3, 3]
    assert "".join(calls[-18:]) == "aabbccbbccaaccaabb"  # uncounted, then counted


def test_time_ends_the_rounds_but_there_is_one_at_least():
    clock = Clock()
    assert len(measure([clock.run_of(0.01)] * 2, 1000, seconds=0.5, clock=clock)[1]) < 20
    assert len(measure([clock.run_of(10.0)] * 2, 1000, seconds=0.0, clock=clock)[1]) == 1


def test_garbage_is_not_collected_meanwhile():
    clock, states = Clock(), []

    def run(count: int) -> None:
        clock.now += 0.01
        states.append(gc.isenabled())

    measure([run], 2, clock=clock)
    assert not any(states)
    assert gc.isenabled()


def test_summary():
    assert summary([3.0]).spread == 0
    times = summary([float(value) for value in range(1, 12)])
    assert (times.minimum, times.median) == (1.0, 6.0)
    assert times.spread == pytest.approx(8.0)
