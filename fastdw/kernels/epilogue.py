"""What every kernel does with a finished sum: y = act((sum + bias) + residual)."""

from __future__ import annotations

from fastdw.jit import Inlined
from fastdw.tile import add, clamp, load, load_row, positive_zero, store

EPILOGUE = (
    "bias_channel",  # bytes from one channel's bias to the next; 0 where there is none and all read the same +0
    "bias_vec",
    "low",  # the clamp's bounds, as the bits of float32
    "high",
    "residual_image",
    "residual_row",
    "residual_col",
    "out_image",
    "out_row",
    "out_col",
)


@Inlined
def finish(shape, acc, c, n, vec_step, residual, out):
    """Bias of the channels from n, the residual at an address, the clamp, and the store at an address.

    A bias of -0 counts as +0: so the sign of a zero sum, which depends on whether padding was skipped or multiplied, is never seen.
    """
    acc = add(acc, positive_zero(load_row(shape, c.bias + n * c.bias_channel, c.bias_vec)))
    if c.residual != 0:
        acc = add(acc, load(shape, residual, c.residual_row, c.residual_col, vec_step))
    store(clamp(acc, c.low, c.high), out, c.out_row, c.out_col, vec_step)
