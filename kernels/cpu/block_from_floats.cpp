#include <vector>

#include "kernels/cpu/convert.hpp"
#include "kernels/cpu/product_block.hpp"
#include "kernels/cpu/tile_product.hpp"

namespace collie::cpu {

namespace {

// Fills `to` with the block, dense.
void to_floats(const Bfloat16Block& from, float* to) {
  for (int64_t i = 0; i < from.rows; ++i)
    convert({const_cast<bfloat16*>(from.data + i * from.stride), true}, {to + i * from.width, false},
            from.width);
}

std::vector<float> buffer_of(int64_t rows, int64_t width) {
  return std::vector<float>(static_cast<size_t>(rows * width));
}

}  // namespace

void multiply_from_floats(const ProductBlock& x) {
  thread_local std::vector<float> a = buffer_of(float_limits.m, float_limits.terms),
                                  b = buffer_of(float_limits.n, float_limits.terms);
  to_floats(x.a, a.data());
  to_floats(x.b, b.data());
  multiply_tile(x.form, x.m, x.n, x.terms, a.data(), x.a.width, b.data(), x.b.width, x.c, x.n, x.accumulate);
}

}  // namespace collie::cpu
