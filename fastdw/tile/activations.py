"""The activations, each a formula over vectors: written once, it is both the NumPy meaning and the machine code.

A formula is given the arithmetic to compute with. It uses additions, multiplications, fused multiply-adds, comparisons and
integer operations on bits: nothing that one instruction set rounds otherwise than another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

CLAMP = "clamp"  # between two bounds that are known at run time only: no formula

Vector = Any  # of whatever the arithmetic computes with; where one is wanted a number will do


class Arithmetic(Protocol):
    """Operations on vectors of float32."""

    def add(self, x: Vector, y: Vector) -> Vector: ...
    def multiply(self, x: Vector, y: Vector) -> Vector: ...
    def multiply_add(self, x: Vector, y: Vector, z: Vector) -> Vector:
        """x * y + z, rounded once where the CPU can."""

    def negative(self, x: Vector) -> Vector: ...
    def absolute(self, x: Vector) -> Vector: ...
    def with_sign_of(self, x: Vector, y: Vector) -> Vector:
        """The size of x with the sign of y."""

    def at_least(self, x: Vector, low: Vector) -> Vector:
        """low where x < low; NaN and -0 stay."""

    def at_most(self, x: Vector, high: Vector) -> Vector:
        """high where x > high; NaN and -0 stay."""

    def bits_minus(self, bits: int, x: Vector) -> Vector:
        """The number whose bits are the difference of integers."""

    def shift_left(self, x: Vector, count: int) -> Vector:
        """The number whose bits are those of x, shifted."""


# ---- building blocks ----
WHOLE = 1.5 * 2**23  # added to a number below 2**22 it leaves no bits behind the point
EXPONENT_BIAS, FRACTION_BITS = 127, 23
LOG2_E = 1.4426950408889634
LN_2 = (0.693359375, -2.1219444005469057e-4)  # the first with so few bits that small multiples of it are exact
RECIPROCAL_BITS = 0x7EF311C3

# Coefficients from the constant on: minimax fits of the relative error.
EXP = (1.0, 0.9999997070033649, 0.4999914918255541, 0.16667636614091424, 0.04189797634826654, 0.008290304130836257)
EXP2 = (1.0, 0.693146977567232, 0.2402224204791548, 0.05550733779971977, 0.00967151499571227, 0.0013264721166904871)
EXPM1 = (0.0, 1.0, 0.49999998153946407, 0.16666543619531318, 0.04166719989613863, 0.008366520718615218, 0.0013882518962072476)
LOG2_NORMAL = (  # log2 of the normal distribution at -x, for x from 0 to 6; beyond it falls faster, below 2**-127
    *(-1.0, -1.1511047821241631, -0.45921671818204857, -0.05244824127067145, 0.006945695025225733, 1.3157759539898918e-05),
    *(-0.0002933081375267809, 8.298625519362045e-05, -1.2612435843818968e-05, 1.0700353656982272e-06, -3.972638979102978e-08),
)
NORMAL_IS_ZERO = 10.713  # where LOG2_NORMAL is -127


def polynomial(a: Arithmetic, x: Vector, coefficients: tuple[float, ...], factor: float = 1.0) -> Vector:
    """Of factor * x."""
    scaled = [coefficient * factor**power for power, coefficient in enumerate(coefficients)]
    total: Vector = scaled.pop()
    while scaled:
        total = a.multiply_add(total, x, scaled.pop())
    return total


def nearest_power(a: Arithmetic, x: Vector, factor: float, exponent: int = 0) -> tuple[Vector, Vector]:
    """n and 2**(n + exponent), where n is the whole number nearest to factor * x."""
    offset = WHOLE + EXPONENT_BIAS + exponent
    shifted = a.multiply_add(x, factor, offset)
    return a.add(shifted, -offset), a.shift_left(shifted, FRACTION_BITS)


def split_exp(a: Arithmetic, x: Vector, factor: float, exponent: int = 0) -> tuple[Vector, Vector]:
    """e**(factor * x) = e**(factor * rest) * 2**n: the rest and 2**(n + exponent). factor is a power of two or the negative of one."""
    n, power = nearest_power(a, x, factor * LOG2_E, exponent)
    rest = a.multiply_add(n, -LN_2[0] / factor, x)
    return a.multiply_add(n, -LN_2[1] / factor, rest), power


def reciprocal(a: Arithmetic, x: Vector) -> Vector:
    """1 / x for x from 2**-125 to 2**125. The first guess, within 12 %, negates the exponent; each step cubes the error."""
    guess = a.bits_minus(RECIPROCAL_BITS, x)
    for _ in range(2):
        error = a.multiply_add(a.negative(x), guess, 1.0)
        guess = a.multiply_add(guess, a.multiply_add(error, error, error), guess)
    return guess


def exp(a: Arithmetic, x: Vector) -> Vector:
    """e**x for x up to 88; zero below -87.7"""
    rest, power = split_exp(a, a.at_least(x, -88.0), 1.0)
    return a.multiply(polynomial(a, rest, EXP), power)


def scaled_sigmoid(a: Arithmetic, x: Vector) -> Vector:
    """2**32 / (1 + e**-x) for x of at least -109. With that factor nothing overflows, and no digits are lost to subnormals."""
    rest, power = split_exp(a, a.at_most(x, 60.0), -1.0, -32)
    return reciprocal(a, a.multiply_add(polynomial(a, rest, EXP, -1.0), power, 2.0**-32))


def ramp(a: Arithmetic, x: Vector) -> Vector:
    """min(x + 3, 6) / 6"""
    return a.multiply(a.at_most(a.add(x, 3.0), 6.0), 1 / 6)


# ---- the activations ----
def hard_sigmoid(a: Arithmetic, x: Vector) -> Vector:
    """min(max(x + 3, 0), 6) / 6"""
    return ramp(a, a.at_least(x, -3.0))


def hard_swish(a: Arithmetic, x: Vector) -> Vector:
    """x * hard_sigmoid(x)"""
    x = a.at_least(x, -3.0)
    return a.multiply(x, ramp(a, x))


def sigmoid(a: Arithmetic, x: Vector) -> Vector:
    """1 / (1 + e**-x)"""
    return a.multiply(scaled_sigmoid(a, a.at_least(x, -109.0)), 2.0**-32)


def silu(a: Arithmetic, x: Vector) -> Vector:
    """x * sigmoid(x)"""
    x = a.at_least(x, -109.0)
    return a.multiply(a.multiply(x, 2.0**-32), scaled_sigmoid(a, x))


def tanh(a: Arithmetic, x: Vector) -> Vector:
    """|m / (m + 2)| where m = e**(-2|x|) - 1, with the sign of x"""
    rest, power = split_exp(a, a.at_most(a.absolute(x), 20.0), -2.0)
    m = polynomial(a, rest, EXPM1, -2.0)
    m = a.multiply_add(m, power, a.add(power, -1.0))
    return a.with_sign_of(a.multiply(m, reciprocal(a, a.add(m, 2.0))), x)


def gelu(a: Arithmetic, x: Vector) -> Vector:
    """x * normal(x) = max(x, 0) - |x| * normal(-|x|), where normal(x) = (1 + erf(x / sqrt(2))) / 2"""
    size = a.at_most(a.absolute(x), NORMAL_IS_ZERO)
    log2 = polynomial(a, size, LOG2_NORMAL)
    n, power = nearest_power(a, log2, 1.0)
    normal = a.multiply(polynomial(a, a.add(log2, a.negative(n)), EXP2), power)
    return a.multiply_add(a.negative(size), normal, a.at_least(x, 0.0))


FUNCTIONS: dict[str, Callable[[Arithmetic, Vector], Vector]] = {
    function.__name__: function for function in (hard_sigmoid, hard_swish, sigmoid, silu, tanh, gelu)
}
