#include "kernels/cuda/memory/workspaces.hpp"

#include <algorithm>

#include "base/divide.hpp"

namespace collie::cuda {

int64_t column_slices(int64_t rows, int64_t width) {
  constexpr int64_t fewest_rows = 32, blocks = 1024;
  const int64_t across = divide_up(width, 128), most = across <= 1       ? blocks
                                                       : across < blocks ? blocks / across
                                                                         : 1;
  const int64_t wanted = divide_up(rows, fewest_rows);
  return wanted < most ? wanted : most;
}

int64_t column_sum_workspace(int64_t rows, int64_t width) {
  return column_slices(rows, width) * width;
}

int64_t rms_norm_backward_weight_workspace(int64_t rows, int64_t width) {
  return column_slices(rows, width) * width;
}

int64_t attention_backward_workspace(int64_t queries, int64_t heads) {
  return queries * heads;
}

int64_t head_chunk(int64_t vocab) {
  constexpr int64_t elements = int64_t{1} << 28, step = 256;  // half a GB of bfloat16
  return std::clamp(elements / vocab / step * step, step, 32 * step);
}

}  // namespace collie::cuda
