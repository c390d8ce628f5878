// Dropout whose mask is computed where it is needed and never stored.
#include "base/divide.hpp"
#include "kernels/checks.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"
#include "kernels/dropout_mask.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/dropout.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/philox-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

constexpr int64_t columns_at_a_time = 512;

// One row: x and out [width], of which the first is column first_column of the whole.
template <class T>
HWY_INLINE void dropout_of(const T* x, T* out, const DropoutMask& mask, uint64_t row, int64_t first_column,
                           int64_t width) {
  HWY_ALIGN uint32_t words[4 + columns_at_a_time + most_words_beyond];
  const int64_t lead = first_column % 4;  // words of the first block that belong to columns before
  const hn::ScalableTag<uint32_t> words_tag;
  // Of a rate of 1 every word is below the bound, also the largest.
  const auto last_dropped = hn::Set(words_tag, static_cast<uint32_t>(mask.dropped - 1));
  const Vec factor = constant(static_cast<float>(mask.factor));
  for (int64_t first = 0; first < width; first += columns_at_a_time) {
    const int64_t count = HWY_MIN(columns_at_a_time, width - first);
    if (mask.dropped > 0)
      random_words(mask.key, row, static_cast<uint32_t>((first_column + first) / 4), 0, lead + count, words);
    for_each_vector(count, [&](int64_t i, auto access) HWY_ATTR {
      const Vec kept = hn::Mul(access.load(x + first + i), factor);
      if (mask.dropped == 0) return access.store(kept, out + first + i);
      const auto above = hn::Gt(hn::LoadU(words_tag, words + lead + i), last_dropped);
      access.store(hn::IfThenElseZero(hn::RebindMask(Floats(), above), kept), out + first + i);
    });
  }
}

void dropout_row(cpu::Elements x, cpu::Elements out, const DropoutMask& mask, uint64_t row,
                 int64_t first_column, int64_t width) {
  typed([&](auto... each) HWY_ATTR { dropout_of(each..., mask, row, first_column, width); }, x, out);
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(dropout_row);

using cpu::at;

void CpuOperations::dropout(const Tensor& x, double rate, uint64_t key, std::span<const uint64_t> rows,
                            int64_t first_column, Tensor& out) {
  check::dropout(dtype(), x, rate, rows, first_column, out);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(dropout_row);
  const DropoutMask mask = dropout_mask(key, rate);
  const int64_t width = x.dim(1);
  arena_.for_pieces(x.dim(0), cpu::rows_per_piece(width), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t)
      kernel(at(x, t), at(out, t), mask, rows[static_cast<size_t>(t)], first_column, width);
  });
}

}  // namespace collie
#endif  // HWY_ONCE
