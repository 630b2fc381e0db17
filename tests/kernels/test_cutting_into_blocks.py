"""Blocks cut an extent without a gap, each with room for a tile."""

import itertools

from fastdw.kernels.blocks import block_start, count_blocks, shared_extent


def test_blocks_cover_an_extent_and_hold_a_tile_each():
    for tile in (1, 2, 4, 7, 16, 96):
        for extent in [*range(tile, 4 * tile + 3), 100 * tile + 1]:
            for wanted in (1, tile, 2 * tile, 3 * tile + 1, extent, 10 * extent):
                blocks = count_blocks(extent, tile, wanted)
                starts = [block_start(index, blocks, extent, tile) for index in range(blocks + 1)]
                assert starts[0] == 0
                assert starts[-1] == extent
                assert all(start % tile == 0 for start in starts[:-1])
                assert all(after - before >= tile for before, after in itertools.pairwise(starts)), (
                    extent,
                    tile,
                    wanted,
                    starts,
                )


def test_blocks_are_about_as_large_as_wanted():
    assert count_blocks(112, 4, 28) == 4
    assert count_blocks(112, 4, 1) == 28, "no more blocks than tiles"
    assert count_blocks(112, 4, 1000) == 1
    assert count_blocks(3, 4, 1) == 1


def test_blocks_are_shared_out_evenly_where_they_can_be():
    assert count_blocks(25, 1, shared_extent(25, 1, 2, 8)) == 4
    assert count_blocks(112, 2, shared_extent(112, 2, 4, 16)) == 16
    assert shared_extent(1, 1, 2, 8) == 1
    for extent in range(1, 60):
        for threads in (2, 3, 4):
            found = shared_extent(extent, 1, threads, 4 * threads)
            counts = {count_blocks(extent, 1, wanted) for wanted in range(max(1, extent // (4 * threads)), extent + 1)}
            even = {count for count in counts if count % threads == 0 and count >= 2 * threads}
            assert 1 <= found <= extent
            assert count_blocks(extent, 1, found) in (even or counts)
