"""Arrays of other libraries: classes that offer no more than a protocol."""

from __future__ import annotations

import numpy as np

CUDA = 2


class WithInterface:
    """NumPy's own protocol alone."""

    def __init__(self, array: np.ndarray):
        self._array = array  # kept: the interface holds an address
        self.__array_interface__ = array.__array_interface__


class WithDLPack:
    """DLPack alone."""

    def __init__(self, array: np.ndarray):
        self._array = array

    def __dlpack__(self, **keywords):
        return self._array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class OnAnotherDevice:
    """In memory that NumPy cannot read."""

    dtype = np.dtype(np.float32)

    def __dlpack__(self, **keywords):
        raise AssertionError("asked for data although it says where it is")

    def __dlpack_device__(self):
        return (CUDA, 0)


class Unreadable:
    """DLPack that refuses, as for a tensor that requires gradients."""

    def __dlpack__(self, **keywords):
        raise BufferError("it requires\ngradients")

    def __dlpack_device__(self):
        return (1, 0)


class WithBrokenInterface:
    __array_interface__ = {"shape": (1, 8, 9, 16)}  # noqa: RUF012


PROTOCOLS = (WithInterface, WithDLPack)
