// All sums over ranks are taken in this one order.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/tensor.hpp"

namespace collie::comm {

// out[k][i] = ((in[0][i] + in[1][i]) + in[2][i]) + ..., for every k and begin <= i < end, in the elements'
// own precision. The bits are the same wherever the range is cut. `out` may hold pointers of `in`. dtype: f32
// or f64.
void sum_in_rank_order(DType dtype, std::span<const std::byte* const> in, std::span<std::byte* const> out,
                       int64_t begin, int64_t end);

}  // namespace collie::comm
