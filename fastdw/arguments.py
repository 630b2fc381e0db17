"""What the public calls accept, and the errors for what they do not: "<argument>: got <what came>; expected <what was wanted>"."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, SupportsIndex

import numpy as np

from fastdw.packing import PackedWeight
from fastdw.problem import NO_ACTIVATION, Activation, Padding, Pair
from fastdw.tile.activations import CLAMP, FUNCTIONS

FLOAT32 = np.dtype(np.float32)
LARGEST = float(np.finfo(np.float32).max)
CLAMPS = {None: NO_ACTIVATION, "relu": Activation(low=0.0), "relu6": Activation(low=0.0, high=6.0)}
ACTIVATIONS = CLAMPS | {name: Activation(name) for name in FUNCTIONS}
MOST = 2**31 - 1
PADDING_NUMBERS = "an integer, (rows, columns) or ((top, bottom), (left, right))"
DLPACK_DEVICES = {
    2: "a CUDA device",
    4: "an OpenCL device",
    7: "a Vulkan device",
    8: "a Metal device",
    10: "a ROCm device",
}  # not the CPU's
PADDINGS = ("valid", "same", "same_lower")


class _HasInterface(Protocol):
    @property
    def __array_interface__(self) -> dict[str, Any]: ...


class _HasDLPack(Protocol):
    def __dlpack__(self, *args: Any, **keywords: Any) -> Any: ...


GivenArray = np.ndarray | _HasInterface | _HasDLPack
GivenWeight = GivenArray | PackedWeight
GivenPair = SupportsIndex | Sequence[SupportsIndex]
GivenPadding = str | SupportsIndex | Sequence[SupportsIndex | Sequence[SupportsIndex]]
GivenActivation = str | Sequence[float] | None


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def error(name: str, got: str, expected: str) -> ValueError:
    return ValueError(f"{name}: got {got}; expected {expected}")


def wrong_type(name: str, value: Any, expected: str) -> TypeError:
    return TypeError(f"{name}: got {shown(value) if not isinstance(value, np.ndarray) else 'an array'}; expected {expected}")


def array(value: Any, name: str) -> np.ndarray:
    """A float32 array, without a copy: a NumPy array, or anything with __array_interface__ or DLPack."""
    if type(value) is not np.ndarray:
        value = _foreign_array(value, name)
    if value.dtype is not FLOAT32 and value.dtype != FLOAT32:
        raise TypeError(f"{name}: got {value.dtype.name if value.dtype.isnative else 'byte-swapped ' + value.dtype.name}; expected float32")
    if not value.flags.aligned:
        raise error(name, "an array whose elements are not aligned to 4 bytes", "aligned elements: np.require(array, requirements='A')")
    return value


def _foreign_array(value: Any, name: str) -> np.ndarray:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: got a masked array; expected a float32 array without a mask")
    if isinstance(value, np.ndarray):
        return value.view(np.ndarray)
    if not hasattr(value, "__array_interface__") and not hasattr(value, "__dlpack__"):
        raise TypeError(f"{name}: got {type(value).__name__}; expected a float32 array")
    try:
        if hasattr(value, "__array_interface__"):
            return np.asarray(value)
        device = DLPACK_DEVICES.get(value.__dlpack_device__()[0])
        if device is None:
            return np.from_dlpack(value)
    except Exception as reason:
        what = getattr(value, "dtype", None)
        of_what = f" of {shown(what)}" if what is not None else ""
        raise TypeError(
            f"{name}: got {type(value).__name__}{of_what} that NumPy cannot view ({shown(str(reason))}); expected a float32 array"
        ) from reason
    raise TypeError(f"{name}: got {type(value).__name__} in the memory of {device}; expected a float32 array in the CPU's")


def integer(value: Any, name: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise wrong_type(name, value, f"an integer of at least {least}")
    value = int(value)
    if value < least:
        raise error(name, shown(value), f"an integer of at least {least}")
    if value > MOST:
        raise error(name, shown(value), f"an integer of at most {MOST}")
    return value


def real(value: Any, name: str, expected: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise wrong_type(name, value, expected)
    try:
        return float(value)
    except OverflowError:
        raise error(name, shown(value), expected) from None


def path(value: Any, name: str) -> Path:
    """Absolute, "~" resolved."""
    expected = "a path"
    try:
        return Path(value).expanduser().absolute()
    except TypeError:
        raise wrong_type(name, value, expected) from None
    except (RuntimeError, ValueError) as reason:  # no home directory; characters that no path can have
        raise error(name, shown(value), f"{expected}: {reason}") from None


def flag(value: Any, name: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise wrong_type(name, value, "True or False")
    return bool(value)


def pair(value: Any, name: str, least: int = 1) -> Pair:
    """One integer for both, or (rows, columns)."""
    if type(value) is int and least <= value <= MOST:
        return (value, value)
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise error(name, shown(value), "one integer or (rows, columns)")
        return (integer(value[0], name, least), integer(value[1], name, least))
    one = integer(value, name, least)
    return (one, one)


def padding(value: Any) -> str | Padding:
    """A name as it is; numbers as ((top, bottom), (left, right))."""
    if type(value) is int and 0 <= value <= MOST:
        return ((value, value), (value, value))
    if isinstance(value, str):
        return padding_name(value)
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(side, (tuple, list)) for side in value):
        rows, cols = (pair(side, "padding", 0) for side in value)
        return (rows, cols)
    if isinstance(value, (tuple, list)) and (len(value) != 2 or any(isinstance(side, (tuple, list)) for side in value)):
        raise error("padding", shown(value), PADDING_NUMBERS)
    if not isinstance(value, (tuple, list, numbers.Integral)):
        raise wrong_type("padding", value, PADDING_NUMBERS)
    rows_cols = pair(value, "padding", 0)
    return ((rows_cols[0],) * 2, (rows_cols[1],) * 2)


def padding_name(value: str, names: tuple[str, ...] = PADDINGS, otherwise: str = PADDING_NUMBERS) -> str:
    if value not in names:
        raise error("padding", shown(value), f"one of {', '.join(map(repr, names))}, {otherwise}")
    return value


def activation(value: Any, name: str = "activation") -> Activation:
    """None, the name of an activation, or a clamp (low, high)."""
    if value is None or isinstance(value, str):
        if value in ACTIVATIONS:
            return ACTIVATIONS[value]
    elif isinstance(value, (tuple, list)):
        if len(value) == 2 and all(isinstance(bound, numbers.Real) and not isinstance(bound, bool) for bound in value):
            low, high = value
            if low <= high and all(abs(bound) <= LARGEST or abs(bound) == math.inf for bound in value):
                return Activation(CLAMP, float(low) + 0.0, float(high) + 0.0)  # -0 becomes +0: the two are one key in a cache of calls
            raise error(name, shown(value), "a clamp (low, high) of float32 numbers with low <= high")
    else:
        raise wrong_type(name, value, "None, a name or a clamp (low, high)")
    raise error(name, shown(value), f"one of {', '.join(map(repr, ACTIVATIONS))}, or a clamp (low, high) of two numbers")


def thread_count(value: Any) -> int:
    return value if type(value) is int and value > 0 else integer(value, "threads", 1)
