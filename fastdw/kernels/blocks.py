"""How an extent is cut into blocks for tasks, and blocks into tiles."""

from __future__ import annotations

from fastdw.jit import Inlined

TASKS_A_THREAD = 4  # about, so that none waits long for the last


@Inlined
def block_start(index, blocks, extent, tile):
    """Where a block begins, for index 0 .. blocks: on a tile boundary, and the last block takes what is left over.

    Assumes blocks <= extent // tile, so every block holds a whole tile and the last tile can step back inside it.
    """
    if index == blocks:
        return extent
    return extent // tile * index // blocks * tile


def count_blocks(extent: int, tile: int, wanted: int) -> int:
    """Blocks of about `wanted` elements, each of a whole tile at least."""
    return max(1, min(extent // tile, -(-extent // max(1, wanted))))


def shared_extent(extent: int, tile: int, threads: int, blocks: int) -> int:
    """Elements of a block where there are about so many blocks at most, and as many for every thread, two or more, if that is possible."""
    least = max(tile, extent // blocks)
    counts = ((wanted, count_blocks(extent, tile, wanted)) for wanted in range(least, extent))
    return next((wanted for wanted, count in counts if count % threads == 0 and count >= 2 * threads), least)


def largest_block(extent: int, blocks: int, tile: int) -> int:
    """Elements of the largest of the blocks: the last one, or one before it."""
    tiles = extent // tile
    return max(-(-tiles // blocks) * tile, extent - tiles * (blocks - 1) // blocks * tile)
