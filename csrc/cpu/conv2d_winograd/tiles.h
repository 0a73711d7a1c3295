// How the output is cut into tiles and tiles into blocks, the unit in which the work is done.
//
// An axis of `size` outputs takes ceil(size / m) tiles. Where m does not divide it, the last tiles are one
// output narrower ("narrow") and need no product of the last plane, see algorithm.h: first the wide tiles,
// then the narrow.
//
// A block is a box of tiles: whole images, or rows of tiles of one image, or a part of one row. Its tiles are
// numbered so that those which need plane (i, j) are one range, whatever i and j:
//
//   [rows wide, columns narrow][wide, wide][narrow, wide][narrow, narrow]
//    `---- last i ------------------'
//                               `--- last j ---'
//
// The cut depends on the problem alone.
#pragma once
#include <cstdint>

#include "cpu/parallel.h"
#include "cpu/simd/vec.h"

namespace weft::cpu::WEFT_ISA {

struct Axis {
  Axis(std::int64_t size, int m)
      : size(size), count(ceil_div(size, m)), wide(max_of<std::int64_t>(0, size - count * (m - 1))), m(m) {}
  std::int64_t start(std::int64_t tile) const { return tile * m - max_of<std::int64_t>(0, tile - wide); }
  std::int64_t extent(std::int64_t tile) const {
    return min_of<std::int64_t>(tile < wide ? m : m - 1, size - start(tile));
  }
  std::int64_t size, count, wide;
  int m;
};

struct Range {
  std::int64_t begin, end;
};

struct Block {
  std::int64_t image, images, row, rows, column, columns;  // first tile and number of tiles
  std::int64_t wide_rows, wide_columns;                    // how many of them are wide

  std::int64_t narrow_rows() const { return rows - wide_rows; }
  std::int64_t narrow_columns() const { return columns - wide_columns; }
  std::int64_t tiles() const { return images * rows * columns; }

  // The tiles that need a plane; last_row, last_column: the plane is the last one of its axis.
  Range range(bool last_row, bool last_column) const {
    const std::int64_t a = images * wide_rows * narrow_columns(), b = images * wide_rows * wide_columns,
                       c = images * narrow_rows() * wide_columns;
    return {last_column ? a : 0, last_row ? a + b : last_column ? a + b + c : tiles()};
  }
  // Numbers of the first wide and the first narrow tile of a row of tiles; the others follow.
  void numbers(std::int64_t in_image, std::int64_t in_row, std::int64_t& wide, std::int64_t& narrow) const {
    const std::int64_t a = images * wide_rows * narrow_columns(), b = images * wide_rows * wide_columns,
                       c = images * narrow_rows() * wide_columns;
    if (in_row < wide_rows) {
      const std::int64_t index = in_image * wide_rows + in_row;
      wide = a + index * wide_columns;
      narrow = index * narrow_columns();
    } else {
      const std::int64_t index = in_image * narrow_rows() + in_row - wide_rows;
      wide = a + b + index * wide_columns;
      narrow = a + b + c + index * narrow_columns();
    }
  }
};

// All blocks of N images with P x Q outputs, each of at most about `target` tiles.
struct Blocks {
  Blocks(std::int64_t N, std::int64_t P, std::int64_t Q, int m, std::int64_t target)
      : N(N), rows(P, m), columns(Q, m) {
    const std::int64_t whole = rows.count * columns.count;
    const std::int64_t images = max_of<std::int64_t>(1, target / whole);
    const std::int64_t tile_rows =
        whole <= target ? rows.count : max_of<std::int64_t>(1, target / columns.count);
    image_pieces = ceil_div(N, images);
    row_pieces = ceil_div(rows.count, tile_rows);
    column_pieces = ceil_div(columns.count, target);
    count = image_pieces * row_pieces * column_pieces;
    largest =
        ceil_div(N, image_pieces) * ceil_div(rows.count, row_pieces) * ceil_div(columns.count, column_pieces);
  }
  Block operator[](std::int64_t i) const {
    Block b{};
    const std::int64_t q = i % column_pieces, p = i / column_pieces % row_pieces,
                       n = i / column_pieces / row_pieces;
    cut(N, image_pieces, n, b.image, b.images);
    cut(rows.count, row_pieces, p, b.row, b.rows);
    cut(columns.count, column_pieces, q, b.column, b.columns);
    b.wide_rows = min_of(b.rows, max_of<std::int64_t>(0, rows.wide - b.row));
    b.wide_columns = min_of(b.columns, max_of<std::int64_t>(0, columns.wide - b.column));
    return b;
  }
  // Piece i of `pieces` nearly equal ones of n.
  static void cut(std::int64_t n, std::int64_t pieces, std::int64_t i, std::int64_t& first,
                  std::int64_t& size) {
    first = n * i / pieces;
    size = n * (i + 1) / pieces - first;
  }
  std::int64_t N;
  Axis rows, columns;
  std::int64_t image_pieces, row_pieces, column_pieces, count, largest;  // largest: tiles of a block at most
};

// Floats between planes: an odd number of cache lines, or the planes of a tile would share few sets of the
// cache.
[[gnu::always_inline]] inline std::int64_t plane_stride(std::int64_t vectors) {
  constexpr std::int64_t line = 16;
  return (ceil_div(vectors * lanes_of<float>, line) | 1) * line;
}

}  // namespace weft::cpu::WEFT_ISA
