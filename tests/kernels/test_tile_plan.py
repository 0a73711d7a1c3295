"""How the CUDA backend cuts products into tiles and parts: csrc/cuda/tile_plan.cpp, which is plain host code, compiled
and called as it is, without a device."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from helpers import ROOT

pytestmark = [pytest.mark.cpu, pytest.mark.once]

SOURCES = ROOT / "csrc"
WRAPPER = """
#include "cuda/tile_plan.h"
extern "C" void plan(int multiprocessors, double multiply_adds, const weft::cuda::TileShape* tiles, int count,
                     const weft::cuda::TiledProduct* product, weft::cuda::TilePlan* plan) {
  *plan = weft::cuda::plan_tiles(multiprocessors, multiply_adds, tiles, count, *product);
}
"""
SMS, RATE = 132, 128.0  # of an H200, in float32
MOST_BYTES = 64e6  # of the parts' sums


class Tile(NamedTuple):
    rows: int
    columns: int
    depth: int
    warps: int
    resident: int
    efficiency: float


# Small, narrow, middle, large and huge, as in gemm_float32.cu.
TILES = [
    Tile(32, 32, 32, 4, 4, 0.45),
    Tile(32, 16, 64, 8, 4, 0.35),
    Tile(64, 64, 16, 4, 4, 0.65),
    Tile(128, 128, 16, 8, 2, 0.8),
    Tile(256, 128, 16, 8, 1, 0.84),
]


class Size(NamedTuple):
    rows: int
    columns: int
    depth: int
    copies: int = 1


class TileShape(ctypes.Structure):
    _fields_ = [*((name, ctypes.c_int) for name in Tile._fields[:-1]), ("efficiency", ctypes.c_double)]


class TiledProduct(ctypes.Structure):
    _fields_ = [*((name, ctypes.c_int64) for name in Size._fields), ("sum_bytes", ctypes.c_int)]


class TilePlan(ctypes.Structure):
    _fields_ = [("tile", ctypes.c_int), ("parts", ctypes.c_int)]


Plan = Callable[..., tuple[Tile, int]]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The tile and the number of parts for a size."""
    compiler = os.environ.get("CXX", "g++").split()
    if shutil.which(compiler[0]) is None:
        pytest.fail(f"the test of the plan needs a compiler: {compiler[0]}")
    folder = tmp_path_factory.mktemp("plan")
    (folder / "wrapper.cpp").write_text(WRAPPER)
    flags = ["-std=gnu++20", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{SOURCES}"]
    sources = [str(folder / "wrapper.cpp"), str(SOURCES / "cuda" / "tile_plan.cpp")]
    done = subprocess.run([*compiler, *flags, *sources, "-o", str(folder / "plan.so")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    library = ctypes.CDLL(str(folder / "plan.so"))

    def call(size: Size, tiles: list[Tile] = TILES, sum_bytes: int = 4) -> tuple[Tile, int]:
        shapes = (TileShape * len(tiles))(*(TileShape(*tile) for tile in tiles))
        product, chosen = TiledProduct(*size, sum_bytes), TilePlan(-1, -1)
        library.plan(SMS, ctypes.c_double(RATE), shapes, len(tiles), ctypes.byref(product), ctypes.byref(chosen))
        assert 0 <= chosen.tile < len(tiles)
        return tiles[chosen.tile], chosen.parts

    return call


def up(a: int, b: int) -> int:
    return -(-a // b)


def blocks_of(size: Size, tile: Tile) -> int:
    return up(size.rows, tile.rows) * up(size.columns, tile.columns) * size.copies


def sizes() -> list[Size]:
    rng = np.random.default_rng(0)
    found = [Size(*(2 ** rng.uniform((0, 0, 0, 0), (14, 12, 17, 3))).astype(int)) for _ in range(2000)]
    return [size for size in found if size.rows * size.columns * size.copies < 1 << 27]


def test_parts_cover_the_depth_and_none_is_empty(plan: Plan) -> None:
    several = 0
    for size in sizes():
        tile, parts = plan(size)
        steps = up(size.depth, tile.depth)
        each = up(steps, parts)  # as the kernels cut
        assert parts >= 1
        assert (parts - 1) * each < steps <= parts * each, (size, tile, parts)
        several += parts > 1
    assert several > 300  # the sizes are such that it matters


def test_parts_have_a_pipeline_of_steps_and_fit_the_cache(plan: Plan) -> None:
    for sum_bytes in (4, 8):
        for size in sizes():
            tile, parts = plan(size, sum_bytes=sum_bytes)
            if parts > 1:
                assert up(up(size.depth, tile.depth), parts) >= 3, (size, tile, parts)
                assert parts * size.rows * size.columns * size.copies * sum_bytes <= MOST_BYTES, (size, parts)


def test_sums_of_parts_stay_within_the_cache(plan: Plan) -> None:
    """100 blocks in 5 parts would fill 132 SMs better than in 4, or whole, but are 65.5 MB."""
    huge, one_fewer = Size(2560, 1280, 80000), Size(2560, 1152, 80000)
    assert plan(huge, [TILES[-1]])[1] <= 4
    assert plan(one_fewer, [TILES[-1]], sum_bytes=1)[1] >= 5


@pytest.mark.parametrize("tile", TILES, ids=lambda tile: f"{tile.rows}x{tile.columns}")
def test_what_fills_the_device_evenly_is_not_cut(plan: Plan, tile: Tile) -> None:
    for turns in (1, 2, 3):
        for depth in (64, 1000, 20000):
            size = Size(tile.rows, tile.columns, depth, SMS * tile.resident * turns)
            assert plan(size, [tile]) == (tile, 1)
    # The same with a block for every eighth SM is; and with one for each SM where it holds more.
    assert plan(Size(tile.rows, tile.columns, 20000, SMS // 8), [tile])[1] > 4
    assert (plan(Size(tile.rows, tile.columns, 20000, SMS), [tile])[1] > 1) == (tile.resident > 1)


def test_a_full_device_is_cut_only_for_an_even_end(plan: Plan) -> None:
    """Where SMs have all the blocks that they hold at once, parts are there to give the busiest one less to do."""
    even = 0
    for size in sizes():
        tile, parts = plan(size)
        steps, turns = up(size.depth, tile.depth), up(blocks_of(size, tile), SMS)
        if parts > 1 and turns >= tile.resident:
            assert up(blocks_of(size, tile) * parts, SMS) * up(steps, parts) < turns * steps, (size, tile, parts)
            even += 1
    assert even > 10


def test_the_more_sums_there_are_to_move_the_fewer_parts(plan: Plan) -> None:
    light, heavy = (plan(Size(128, 128, 4000), [TILES[2]], sum_bytes=size)[1] for size in (1, 16))
    assert 1 < heavy < light


def test_large_tiles_for_large_products_and_small_ones_for_few_sums(plan: Plan) -> None:
    names = dict(zip(TILES, ("small", "narrow", "middle", "large", "huge"), strict=True))
    for side in (4096, 8192):
        tile, parts = plan(Size(side, side, side))
        assert (names[tile], parts) == ("huge", 1)
    assert names[plan(Size(64, 64, 64))[0]] in ("small", "narrow")


def test_linear_layers_of_lenet_are_whole(plan: Plan) -> None:
    """A second launch would be a node more in the graph of its step (docs/cuda.md)."""
    for batch in (64, 512):
        for out, into in ((120, 400), (84, 120), (10, 84)):
            assert plan(Size(batch, out, into))[1] == 1


def test_nothing_to_sum(plan: Plan) -> None:
    for size in (Size(0, 5, 5), Size(5, 5, 0), Size(5, 0, 5), Size(5, 5, 5, 0)):
        assert plan(size)[1] == 1


def test_the_fewer_cycles_win(plan: Plan) -> None:
    """Of two tiles that differ in one thing, the better one, in either order."""
    better, worse = Tile(64, 64, 16, 4, 4, 0.7), Tile(64, 64, 16, 4, 4, 0.5)
    lone = Tile(64, 64, 16, 4, 1, 0.7)  # at its best with one block, but nothing hides that block's ends
    for size in (Size(300, 300, 300), Size(5000, 500, 64), Size(2000, 2000, 2000)):
        assert plan(size, [better, worse])[0] == better == plan(size, [worse, better])[0]
    busy = Size(64, 64, 64, SMS * 40)
    assert plan(busy, [lone, better])[0] == better == plan(busy, [better, lone])[0]
