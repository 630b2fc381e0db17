"""Parameters in the order of use, and what each step is told to bring in."""

import numpy as np

from fastdw.call import Step
from fastdw.networks.parameters import in_order, look_ahead
from fastdw.packing import BLANK

FIELD = 7


def step(tasks: int, turns: int) -> Step:
    return Step(0, np.zeros(16, np.int64), tasks, (), ahead=FIELD if turns else 0, turns=turns)


def test_copies_lie_one_after_the_other_on_cache_lines():
    given = [{"weight": np.arange(20, dtype=np.float32).reshape(4, 5), "bias": BLANK}, {}, {"bias": np.float32([1, 2, 3])}]
    placed, ranges = in_order(given)
    np.testing.assert_array_equal(placed[0]["weight"], given[0]["weight"])
    np.testing.assert_array_equal(placed[2]["bias"], given[2]["bias"])
    assert placed[0]["bias"] is BLANK
    begin = placed[0]["weight"].ctypes.data
    assert begin % 64 == 0
    assert ranges == [(begin, begin + 128), (begin + 128, begin + 128), (begin + 128, begin + 192)]
    assert placed[2]["bias"].ctypes.data == begin + 128


def test_each_step_brings_in_what_it_can_of_what_comes_next():
    ranges = [(0, 1000), (1000, 3000), (3000, 9000), (9000, 20000)]
    steps = look_ahead([step(2, 50), step(1, 0), step(4, 1), step(1, 100)], ranges, 2500)
    told = [tuple(each.memory[FIELD : FIELD + 3]) for each in steps]
    assert told == [(1000, 1250, 25), (0, 0, 0), (9000, 64, 64), (0, 0, 0)]


def test_nothing_is_brought_in_twice():
    ranges = [(0, 1000), (1000, 3000), (3000, 9000)]
    steps = look_ahead([step(1, 1000), step(1, 1000), step(1, 1000)], ranges, 1 << 20)
    told = [tuple(each.memory[FIELD : FIELD + 2]) for each in steps]
    assert told == [(1000, 2000), (3000, 6000), (0, 0)]
