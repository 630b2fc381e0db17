"""What every convolution does with a finished sum: y = act((sum + bias) + residual)."""

from __future__ import annotations

from fastdw.jit import Inlined
from fastdw.kernels.spec import Layout, Plan, float_bits
from fastdw.tile import activate, add, load, positive_zero, store

EPILOGUE = (
    "bias_channel",  # bytes from one channel's bias to the next: 0 where there is none and all read the same +0
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
def finish(shape, acc, bias, c, last_vec, residual, out):
    """A row of biases, the residual at an address, the activation of the shape, and the store at an address.

    A bias of -0 counts as +0: so the sign of a zero sum, which depends on whether padding was skipped or multiplied, is never seen.
    """
    acc = add(acc, positive_zero(bias))
    if c.residual != 0:
        acc = add(acc, load(shape, residual, c.residual_row, c.residual_col, last_vec))
    store(activate(shape, acc, c.low, c.high), out, c.out_row, c.out_col, last_vec)


def epilogue_fields(plan: Plan, layout: Layout) -> dict[str, int]:
    residual = layout.residual or (0, 0, 0)
    activation = plan.problem.activation
    return {
        "bias_channel": 4 if layout.bias else 0,
        "low": float_bits(activation.low),
        "high": float_bits(activation.high),
        **dict(zip(("residual_image", "residual_row", "residual_col"), residual, strict=True)),
        **dict(zip(("out_image", "out_row", "out_col"), layout.out, strict=True)),
    }
