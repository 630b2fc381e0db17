"""Channel multipliers: output n reads input channel n // multiplier, so each channel is repeated on its way into the registers."""

from __future__ import annotations

import math
from typing import NamedTuple

from fastdw.kernels.spec import MIN_LANES, lanes_for
from fastdw.machine import Machine
from fastdw.problem import Problem

MAX_UNIT = 6


class Expansion(NamedTuple):
    """How a tile's vectors take their channels."""

    expand: int  # how often each channel is repeated; 0: all lanes read one channel
    lanes: int
    unit: int  # vectors that belong together
    most_vecs: int


def expansion(problem: Problem, machine: Machine) -> Expansion:
    """The vectors of a tile, by the multiplier.

    multiplier 1: expand 1, a vector of outputs reads a vector of channels. Else each channel is repeated: `unit` vectors
    of outputs take unit * lanes / multiplier channels, a whole number. Where that takes too many vectors all lanes read one
    channel (expand 0), and a tile stays inside the outputs of that channel.
    """
    multiplier = problem.multiplier
    lanes = lanes_for(problem.out_channels, machine)
    unit = multiplier // math.gcd(multiplier, lanes)
    while unit * lanes > problem.out_channels:
        lanes //= 2
        unit = multiplier // math.gcd(multiplier, lanes)
    if unit <= min(MAX_UNIT, machine.registers // 4) and lanes >= min(multiplier, MIN_LANES):
        return Expansion(multiplier, lanes, unit, problem.out_channels // lanes)
    return one_channel(problem, machine)


def one_channel(problem: Problem, machine: Machine) -> Expansion:
    """The same where all lanes read one channel, whatever the multiplier."""
    lanes = lanes_for(problem.multiplier, machine)
    return Expansion(0, lanes, 1, problem.multiplier // lanes)
