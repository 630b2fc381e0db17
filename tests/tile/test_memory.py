"""Operations on memory: the compiled code does what the Python meaning does."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from uncached import Uncached

from fastdw.tile import TileShape, arrive, arrived, call, give_way, move, pause, peek, poke, prefetch, take

SHAPE = TileShape(1, 1, 1, 4)
N_WORDS = 16


def task_words(shape, words, index):
    poke(words + 8, peek(words) + index)
    poke(words + 16, -5)


def task_counters(shape, words, index):
    for _ in range(3):
        poke(words, take(words + 8))
        arrive(words + 16, index)
    poke(words + 24, arrived(words + 16))
    pause()
    give_way()


def task_moves(shape, words, index):
    move(words + 16, words, 40)  # the two overlap
    move(words + 64, words + 72, 48)
    move(words, words + 8, 0)


def task_calls(shape, words, index):
    call(peek(words), words + 8, index + 1)


def task_fetches(shape, words, index):
    prefetch(words)
    prefetch(0)  # no address is wrong
    poke(words, index)


TASKS = [task_fetches, task_words, task_counters, task_moves, task_calls]
OPERATIONS = {"arrive", "arrived", "call", "give_way", "move", "pause", "peek", "poke", "prefetch", "take"}


@pytest.mark.parametrize("function", TASKS, ids=lambda function: function.__name__)
def test_compiled_code_and_meaning_leave_the_same_words(function):
    task = Uncached(function)
    inner = Uncached(task_words)  # kept: its machine code goes with it
    called, left = inner.pointer(SHAPE), []
    for run in (task, lambda shape, words, index: call(task.pointer(shape), words, index)):
        words = np.arange(100, 100 + N_WORDS, dtype=np.int64)
        if function is task_calls:
            words[0] = called
        run(SHAPE, words.ctypes.data, 7)
        left.append(words)
    np.testing.assert_array_equal(*left)
    assert (left[0] != np.arange(100, 100 + N_WORDS)).any()


def test_numbers_are_taken_once():
    words = np.zeros(N_WORDS, np.int64)
    pointer = Uncached(task_counters).pointer(SHAPE)
    threads = [threading.Thread(target=lambda: [call(pointer, words.ctypes.data, 1) for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(words[1:3]) == [4 * 2000 * 3] * 2
