"""The kernel for everything: one output at a time, in the order of operations that every kernel keeps."""

from __future__ import annotations

from fastdw.jit import Task
from fastdw.kernels.epilogue import EPILOGUE, epilogue_fields, finish
from fastdw.kernels.panels import panels_for
from fastdw.kernels.spec import REFERENCE, Blocking, KernelSpec, Layout, Plan
from fastdw.machine import host
from fastdw.problem import CONV, DEPTHWISE, POINTWISE
from fastdw.tile import Context, TileShape, load_row, outer_fma, view, zeros

CONTEXT = Context(
    *EPILOGUE,
    "height",
    "width",
    "rows",  # of the output
    "cols",
    "out_channels",
    "top",
    "left",
    "kernel_rows",
    "kernel_cols",
    "stride_row",
    "stride_col",
    "dilation_row",
    "dilation_col",
    "multiplier",  # output channels an input channel, where each output reads one input; else 0
    "depth",  # input channels that one output reads
    "x_image",
    "x_row",
    "x_col",
    "weight_row",
    "weight_col",
    "weight_depth",
    "panel",  # columns of a panel
    "weight_panel",
    "last_panel",
)


@Task
def reference(shape, context, index):
    c = view(CONTEXT, context)
    image = index // c.rows
    row = index % c.rows
    for col in range(c.cols):
        for n in range(c.out_channels):
            panel = n // c.panel
            weight = c.weight + panel * c.weight_panel + 4 * (n - min(panel * c.panel, c.last_panel))
            channel = n // c.multiplier if c.multiplier != 0 else 0
            acc = zeros(shape)
            for r in range(c.kernel_rows):
                x_row = row * c.stride_row - c.top + r * c.dilation_row
                for s in range(c.kernel_cols):
                    x_col = col * c.stride_col - c.left + s * c.dilation_col
                    if x_row >= 0 and x_row < c.height and x_col >= 0 and x_col < c.width:
                        x = c.x + image * c.x_image + x_row * c.x_row + x_col * c.x_col + 4 * channel
                        tap = weight + r * c.weight_row + s * c.weight_col
                        for k in range(c.depth):
                            acc = outer_fma(acc, x + 4 * k, 0, load_row(shape, tap + k * c.weight_depth, 0))
            residual = c.residual + image * c.residual_image + row * c.residual_row + col * c.residual_col + 4 * n
            finish(
                shape,
                acc,
                load_row(shape, c.bias + n * c.bias_channel, 0),
                c,
                0,
                residual,
                c.out + image * c.out_image + row * c.out_row + col * c.out_col + 4 * n,
            )


def bind(plan: Plan, layout: Layout) -> tuple[dict[str, int], int]:
    p = plan.problem
    depth = 1 if p.kind == DEPTHWISE else p.channels
    if p.kind == DEPTHWISE:
        (weight_row, weight_col), weight_depth = layout.weight, 0
    else:
        weight_depth = layout.weight[0]
        weight_row, weight_col = p.kernel[1] * depth * weight_depth, depth * weight_depth
    panel, panel_bytes = layout.panel or p.out_channels, layout.weight[1] if layout.panel else 0
    if panel > p.out_channels:  # one panel whose last vector steps back: as panels of one vector
        panel = panels_for(p.out_channels, host()).lanes
        panel_bytes = 4 * panel
    fields = epilogue_fields(plan, layout) | {
        "height": p.height,
        "width": p.width,
        "rows": p.out_height,
        "cols": p.out_width,
        "out_channels": p.out_channels,
        "top": p.padding[0][0],
        "left": p.padding[1][0],
        "kernel_rows": p.kernel[0],
        "kernel_cols": p.kernel[1],
        "stride_row": p.stride[0],
        "stride_col": p.stride[1],
        "dilation_row": p.dilation[0],
        "dilation_col": p.dilation[1],
        "multiplier": p.multiplier if p.kind == DEPTHWISE else 0,
        "depth": depth,
        "x_image": layout.x[0],
        "x_row": layout.x[1],
        "x_col": layout.x[2],
        "weight_row": weight_row,
        "weight_col": weight_col,
        "weight_depth": weight_depth,
        "panel": panel,
        "weight_panel": panel_bytes,
        "last_panel": p.out_channels - panel,
    }
    return fields, p.batch * p.out_height


def _spec(kind: str) -> KernelSpec:
    shape, every_row = TileShape(1, 1, 1, 1), Blocking(1, 1 << 30)
    return KernelSpec(
        name=f"{REFERENCE}_{kind}",
        kind=kind,
        task=reference,
        context=CONTEXT,
        refuses=lambda problem, machine: None,
        shapes=lambda problem, machine: iter([shape]),
        blockings=lambda problem, shape: iter([every_row]),
        choose=lambda problem, machine, threads: (shape, every_row),
        bind=bind,
        fused_multiply_adds=lambda shape: (1,),
        rank=100,
    )


SPECS = [_spec(kind) for kind in (DEPTHWISE, POINTWISE, CONV)]
