#include "base/random.hpp"
#include "kernels/checks.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"
#include "kernels/gumbel.hpp"

namespace collie {

namespace {

// best [2] of one row: logits [width] of the ids from `first` on.
template <class T>
void gumbel_max_of(const T* logits, int64_t width, int64_t first, uint64_t key, uint64_t row, double* best) {
  best[0] = -INFINITY;
  best[1] = static_cast<double>(first);
  std::array<uint32_t, 4> words{};
  for (int64_t j = 0; j < width; ++j) {
    const int64_t id = first + j;
    if (j == 0 || id % 4 == 0)
      words = philox4x32(
          {static_cast<uint32_t>(row), static_cast<uint32_t>(row >> 32), static_cast<uint32_t>(id / 4), 0},
          {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)});
    const uint32_t word = words[static_cast<size_t>(id % 4)];
    const auto logit = static_cast<double>(to_float(logits[j]));
    if (logit + gumbel_bound(word) < best[0]) continue;  // nearly always, so that logarithms are few
    const double noisy = logit + gumbel_noise(word);
    if (!(noisy > best[0])) continue;
    best[0] = noisy;
    best[1] = static_cast<double>(id);
  }
}

}  // namespace

void CpuOperations::gumbel_max(const Tensor& logits, int64_t first, uint64_t key,
                               std::span<const uint64_t> rows, Tensor& best) {
  check::gumbel_max(dtype(), logits, first, rows, best);
  const int64_t width = logits.dim(1);
  arena_.for_pieces(logits.dim(0), cpu::rows_per_piece(width), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const cpu::Elements row = cpu::at(logits, t);
      double* const found = best.data<double>() + 2 * t;
      const uint64_t number = rows[static_cast<size_t>(t)];
      if (row.narrow)
        gumbel_max_of(static_cast<const bfloat16*>(row.data), width, first, key, number, found);
      else
        gumbel_max_of(static_cast<const float*>(row.data), width, first, key, number, found);
    }
  });
}

}  // namespace collie
