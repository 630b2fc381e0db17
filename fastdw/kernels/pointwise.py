"""wip"""

from __future__ import annotations

from fastdw.jit import Task
from fastdw.kernels.epilogue import EPILOGUE, finish
from fastdw.tile import Context, load_row, outer_fma, view, zeros

CONTEXT = Context(*EPILOGUE, "rows", "cols", "depth", "width", "x_image", "x_row", "x_col", "weight_depth", "weight_channel", "weight_panel",
    "weight_vec", "vec_step", "last", "tiles", "col_blocks", "panel_blocks", "panels")


@Task
def pointwise(shape, context, index):
    c = view(CONTEXT, context)
    outer = index // (c.col_blocks * c.panel_blocks)
    block = index // c.panel_blocks % c.col_blocks
    strip = index % c.panel_blocks
    image = outer // c.rows
    row = outer % c.rows
    begin = c.tiles * block // c.col_blocks * shape.pixels
    end = c.tiles * (block + 1) // c.col_blocks * shape.pixels
    if block == c.col_blocks - 1:
        end = c.cols
    x_row = c.x + image * c.x_image + row * c.x_row
    out_row = c.out + image * c.out_image + row * c.out_row
    residual_row = c.residual + image * c.residual_image + row * c.residual_row
    for panel in range(c.panels * strip // c.panel_blocks, c.panels * (strip + 1) // c.panel_blocks):
        n = min(panel * shape.width, c.last)
        panel_weight = c.weight + panel * c.weight_panel + n * c.weight_channel
        for tile in range(begin, end, shape.pixels):
            col = min(tile, end - shape.pixels)
            acc = zeros(shape)
            x = x_row + col * c.x_col
            weight = panel_weight
            for _ in range(c.depth):
                acc = outer_fma(acc, x, c.x_col, load_row(shape, weight, c.weight_vec))
                x += 4
                weight += c.weight_depth
            finish(shape, acc, c, n, c.vec_step, residual_row + col * c.residual_col + 4 * n, out_row + col * c.out_col + 4 * n)
