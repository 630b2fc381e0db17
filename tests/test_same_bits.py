"""The same inputs give the same bits on every CPU with a fused multiply-add: AVX2, AVX-512, aarch64.

The digests in same_bits.json are of one such machine; every other one must agree with them. Inputs are integers hashed and
scaled by a power of two, exact everywhere. Where products are rounded by themselves (SSE2), results lie within the error bound.

After a change that is meant to change results:  PYTHONPATH=. python tests/test_same_bits.py
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import oracle
import pytest
import stated_order

import fastdw
from fastdw.arguments import ACTIVATIONS
from fastdw.machine import host

DIGESTS = Path(__file__).with_suffix(".json").with_stem("same_bits")

# call: arrays by name, keywords. Extents leave tails on every vector width.
GEOMETRIES = {
    "3x3": ((3, 3), {"padding": "same"}),
    "3x3 stride 2": ((3, 3), {"padding": "same", "stride": 2}),
    "5x5": ((5, 5), {"padding": 1}),
    "3x3 dilation 2": ((3, 3), {"padding": "same_lower", "dilation": 2}),
    "1x9": ((1, 9), {"padding": "same"}),
}
DEPTHWISE = [
    ("3x3", 37, 1),
    ("3x3", 3, 1),
    ("3x3 stride 2", 37, 1),
    ("5x5", 24, 1),
    ("3x3 dilation 2", 20, 1),
    ("1x9", 16, 1),
    ("3x3", 6, 4),
]
POINTWISE = [(1, 4), (19, 40), (130, 67), (64, 32)]  # channels in and out
CONV = [("3x3 stride 2", 3, 24), ("5x5", 5, 16)]


def hashed(name: str, *shape: int) -> np.ndarray:
    """float32 in [-1, 1), from the integers 0, 1, 2, ... and a name: multiples of 2**-23."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    h = np.arange(np.prod(shape, dtype=np.int64), dtype=np.uint64) + np.uint64(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):  # the finaliser of SplitMix64
        h = (h ^ (h >> np.uint64(shift))) * np.uint64(factor)
    return (((h >> np.uint64(40)).astype(np.int64) - 2**23) * 2.0**-23).astype(np.float32).reshape(shape)


def with_specials(array: np.ndarray) -> np.ndarray:
    """A few of what float32 has beyond the usual: zeros of both signs, the smallest and largest numbers, infinities, NaN."""
    specials = np.array([0.0, -0.0, 1e-45, -1e-39, 3e38, -3e38, np.inf, -np.inf, np.nan], np.float32)
    array = array.copy()
    array.reshape(-1)[7::173] = np.resize(specials, len(array.reshape(-1)[7::173]))
    return array


def problem(call: str, weight: dict[str, tuple[int, ...]], channels: int, out: int, keywords: dict, extents=(2, 11, 13)) -> tuple:
    arrays = {"x": (*extents, channels)} | weight | {("pointwise_" if "separable" in call else "") + "bias": (out,)}
    return call, arrays, keywords


def problems() -> dict[str, tuple]:
    found = {}
    for geometry, channels, multiplier in DEPTHWISE:
        kernel, keywords = GEOMETRIES[geometry]
        weight = {"weight": (*kernel, channels, multiplier)}
        found[f"depthwise {geometry}, {channels} x {multiplier} channels"] = problem(
            "depthwise_conv2d", weight, channels, channels * multiplier, keywords | {"activation": "relu6"}
        )
    for channels, out in POINTWISE:
        found[f"pointwise {channels} to {out}"] = problem("pointwise_conv2d", {"weight": (channels, out)}, channels, out, {})
    for activation in ACTIVATIONS:
        found[f"pointwise with {activation}"] = problem("pointwise_conv2d", {"weight": (24, 33)}, 24, 33, {"activation": activation})
    for geometry, channels, out in CONV:
        kernel, keywords = GEOMETRIES[geometry]
        found[f"conv {geometry}, {channels} to {out}"] = problem("conv2d", {"weight": (*kernel, channels, out)}, channels, out, keywords)
    kernel, keywords = GEOMETRIES["3x3"]
    weights = {"depthwise_weight": (*kernel, 20), "pointwise_weight": (20, 36)}
    found["separable"] = problem("separable_conv2d", weights, 20, 36, keywords | {"depthwise_activation": "relu"})
    found["dense"] = problem("dense", {"weight": (259, 70)}, 259, 70, {}, extents=(3,))
    found["average"] = "global_average_pool2d", {"x": (2, 7, 7, 45)}, {}
    return found


PROBLEMS = problems()


def arguments(name: str, is_special: bool) -> tuple[str, dict]:
    call, arrays, keywords = PROBLEMS[name]
    made = {key: hashed(f"{name} {key}", *shape) for key, shape in arrays.items()}
    if is_special:
        made["x"] = with_specials(made["x"])
    return call, made | keywords


def digest(name: str) -> str:
    """Of the results for ordinary and for special values, every NaN the same."""
    sha = hashlib.sha256()
    for is_special in (False, True):
        call, given = arguments(name, is_special)
        sha.update(stated_order.bits(getattr(fastdw, call)(**given)).tobytes())
    return sha.hexdigest()[:16]


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_bits_are_those_of_every_machine(name):
    if not host().is_fused:
        call, given = arguments(name, is_special=False)
        getattr(oracle, call)(**given).check(getattr(fastdw, call)(**given))
    else:
        assert digest(name) == json.loads(DIGESTS.read_text())[name]


def test_every_digest_is_of_a_problem():
    assert json.loads(DIGESTS.read_text()).keys() == PROBLEMS.keys()


if __name__ == "__main__":
    DIGESTS.write_text(json.dumps({name: digest(name) for name in PROBLEMS}, indent=1) + "\n")
