"""The guard pages themselves: what is inside can be used, what is beside it kills the process."""

import ctypes
import signal
import subprocess
import sys

import numpy as np
import pytest
from guard import guarded

LAYOUTS = {
    "contiguous": lambda a: a,
    "channel slice": lambda a: a[..., 1:3],
    "spaced": lambda a: a[:, ::2, ::3],
    "reversed": lambda a: a[:, ::-1, ::-1],
    "broadcast": lambda a: np.broadcast_to(a[:1], (4, *a.shape[1:])),
    "larger than a page": lambda a: np.tile(a, (1, 40, 30, 4)),
}


@pytest.mark.parametrize("end", [True, False], ids=["end", "start"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_copy_keeps_values_strides_and_flags(layout, end):
    array = LAYOUTS[layout](np.arange(2 * 6 * 7 * 5, dtype=np.float32).reshape(2, 6, 7, 5))
    copy = guarded(array, end)
    np.testing.assert_array_equal(copy, array)
    assert copy.strides == array.strides
    assert copy.flags.writeable == array.flags.writeable
    assert copy.ctypes.data % 4 == 0


def test_copy_is_writable_to_its_last_element():
    copy = guarded(np.zeros((3, 5), np.float32))
    copy[...] = 7
    assert (copy == 7).all()


@pytest.mark.parametrize("end", ["end", "start"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("access", ["read", "write"])
def test_touching_the_page_beside_the_array_faults(layout, end, access):
    run = subprocess.run([sys.executable, __file__, layout, end, access], capture_output=True, text=True)
    assert run.stdout == "reached the last element\n", run.stderr
    assert run.returncode == -signal.SIGSEGV


def touch(layout: str, end: str, access: str) -> None:
    """Touch the outermost element, say so, then touch the float beyond it."""
    array = guarded(LAYOUTS[layout](np.ones((2, 6, 7, 5), np.float32)), end == "end")
    reach = [(extent - 1) * stride for extent, stride in zip(array.shape, array.strides, strict=True)]
    outermost = array.ctypes.data + sum(r for r in reach if (r > 0) == (end == "end"))
    step = 4 if end == "end" else -4
    for address, message in [(outermost, "reached the last element"), (outermost + step, "no fault")]:
        element = ctypes.c_float.from_address(address)
        if access == "read":
            assert element.value == 1
        else:
            element.value = 2
        print(message, flush=True)


if __name__ == "__main__":
    touch(*sys.argv[1:])
