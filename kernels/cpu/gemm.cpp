#include <algorithm>
#include <array>

#include "base/divide.hpp"
#include "kernels/checks.hpp"
#include "kernels/cpu/bfloat16_product.hpp"
#include "kernels/cpu/blas.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"
#include "kernels/cpu/tile_product.hpp"

namespace collie {

namespace {

struct Tile {
  int64_t rows, columns;
};

// The tile sizes of C, largest first. OpenBLAS packs its operands anew for every tile, so large tiles are
// faster (5 to 20 % from 64 to 512 rows), but there must be enough tiles for the threads. The choice must not
// depend on the number of threads.
constexpr std::array<Tile, 8> tiles{
    {{512, 2048}, {512, 1024}, {512, 512}, {256, 512}, {256, 256}, {128, 256}, {128, 128}, {64, 128}}};
constexpr int64_t enough_tiles = 8;
constexpr int64_t smallest_work = 1 << 21;  // multiply-adds per tile: below, a task costs more than it gains

// A tile's side that divides `size` into equal parts of whole cache lines.
int64_t even(int64_t size, int64_t side) {
  const int64_t parts = divide_up(size, side);
  return divide_up(divide_up(size, parts), 64) * 64;
}

Tile choose_tile(const check::GemmSizes& sizes) {
  Tile chosen = tiles.front();
  for (const Tile& tile : tiles) {
    const int64_t rows = std::min(tile.rows, sizes.m), columns = std::min(tile.columns, sizes.n);
    if (rows * columns * sizes.k < smallest_work) break;
    chosen = tile;
    if (divide_up(sizes.m, tile.rows) * divide_up(sizes.n, tile.columns) >= enough_tiles) break;
  }
  return {even(sizes.m, chosen.rows), even(sizes.n, chosen.columns)};
}

// A tile at its place.
struct Part {
  int64_t row, column, rows, columns;
};

// One row times Wᵀ, as in text generation. gemm would copy all of W first.
void multiply_row(const check::GemmSizes& sizes, const Tensor& a, const Tensor& b, const Tensor& c,
                  bool accumulate, const Part& part) {
  float* const out = c.data<float>() + part.column;
  if (!accumulate) std::fill_n(out, part.columns, 0.0F);
  cpu::blas().sgemv(CblasRowMajor, CblasNoTrans, static_cast<int>(part.columns), static_cast<int>(sizes.k),
                    1.0F, b.data<float>() + part.column * b.row_stride(), static_cast<int>(b.row_stride()),
                    a.data<float>(), 1, 1.0F, out, 1);
}

void multiply(GemmForm form, const check::GemmSizes& sizes, const Tensor& a, const Tensor& b, const Tensor& c,
              bool accumulate, const Part& part) {
  const int64_t a_first = form == GemmForm::tn ? part.row : part.row * a.row_stride();
  const int64_t b_first = form == GemmForm::nt ? part.column * b.row_stride() : part.column;
  if (a.dtype() == DType::bf16)
    return cpu::multiply_bfloat16({form, part.rows, part.columns, sizes.k, a.data<bfloat16>() + a_first,
                                   a.row_stride(), b.data<bfloat16>() + b_first, b.row_stride(),
                                   cpu::at(c, part.row, part.column), c.row_stride(), accumulate});
  if (form == GemmForm::nt && sizes.m == 1) return multiply_row(sizes, a, b, c, accumulate, part);
  cpu::multiply_tile(form, part.rows, part.columns, sizes.k, a.data<float>() + a_first, a.row_stride(),
                     b.data<float>() + b_first, b.row_stride(),
                     c.data<float>() + part.row * c.row_stride() + part.column, c.row_stride(), accumulate);
}

}  // namespace

void CpuOperations::gemm(GemmForm form, const Tensor& a, const Tensor& b, Tensor& c, bool accumulate) {
  const check::GemmSizes sizes = check::gemm(dtype(), form, a, b, c);
  if (sizes.m == 0 || sizes.n == 0) return;
  if (sizes.k == 0) {
    if (!accumulate) fill(c, 0);
    return;
  }
  const Tile tile = choose_tile(sizes);
  const int64_t row_tiles = divide_up(sizes.m, tile.rows);
  // Tasks go down the rows first, so that tasks close in time share a panel of B.
  arena_.for_each(row_tiles * divide_up(sizes.n, tile.columns), [&](int64_t task) {
    const int64_t row = task % row_tiles * tile.rows, column = task / row_tiles * tile.columns;
    multiply(form, sizes, a, b, c, accumulate,
             {row, column, std::min(tile.rows, sizes.m - row), std::min(tile.columns, sizes.n - column)});
  });
}

}  // namespace collie
