"""Arrays whose first or last byte lies beside a page that must not be touched: a stray load or store dies at once."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

PROT_NONE = 0
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def guarded(array: np.ndarray, end: bool = True) -> np.ndarray:
    """A copy of array, with its strides, whose highest element ends (else lowest element starts) at a forbidden page.

    | forbidden | array ........... | forbidden |       end=False
    | forbidden | ........... array | forbidden |       end=True
    """
    reach = [(extent - 1) * stride for extent, stride in zip(array.shape, array.strides, strict=True)]
    below, above = -sum(r for r in reach if r < 0), sum(r for r in reach if r > 0) + array.itemsize
    n_bytes = below + above
    page = mmap.PAGESIZE
    inner = -(-n_bytes // page) * page
    memory = mmap.mmap(-1, inner + 2 * page)
    start = page + inner - n_bytes if end else page
    copy = np.ndarray(array.shape, array.dtype, memory, start + below, array.strides)
    copy[...] = array
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    _forbid(address)
    _forbid(address + page + inner)
    copy.flags.writeable = array.flags.writeable
    return copy


def _forbid(address: int) -> None:
    if _libc.mprotect(address, mmap.PAGESIZE, PROT_NONE):
        raise OSError(ctypes.get_errno(), "mprotect")
