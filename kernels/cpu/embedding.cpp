#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/checks.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/embedding.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

void add_to_vector(const float* x, float* sum, int64_t n) {
  for_each_vector(n, [&](int64_t i, auto access) HWY_ATTR {
    access.store(hn::Add(access.load(sum + i), access.load(x + i)), sum + i);
  });
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(add_to_vector);

using cpu::at;

namespace {

// Tokens sorted by id, and where each id's tokens begin. Tokens of one id are in token order, and tokens
// without an id are left out.
struct TokensById {
  explicit TokensById(std::span<const int32_t> ids) {
    const auto id = [&](int32_t token) { return ids[static_cast<size_t>(token)]; };
    for (size_t t = 0; t < ids.size(); ++t)
      if (ids[t] != absent_id) tokens.push_back(static_cast<int32_t>(t));
    std::stable_sort(tokens.begin(), tokens.end(), [&](int32_t a, int32_t b) { return id(a) < id(b); });
    for (size_t i = 0; i < tokens.size(); ++i)
      if (i == 0 || id(tokens[i]) != id(tokens[i - 1])) starts.push_back(i);
    starts.push_back(tokens.size());
  }
  std::vector<int32_t> tokens;
  std::vector<size_t> starts;  // for each distinct id, followed by the end
};

}  // namespace

void CpuOperations::embedding(const Tensor& table, std::span<const int32_t> ids, Tensor& out) {
  check::embedding(dtype(), table, ids, out);
  const size_t row_bytes = static_cast<size_t>(table.dim(1)) * sizeof(float);
  arena_.for_pieces(out.dim(0), cpu::rows_per_piece(table.dim(1)), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      const int32_t id = ids[static_cast<size_t>(t)];
      if (id == absent_id)
        std::fill_n(at(out, t), out.dim(1), 0.0F);
      else
        std::memcpy(at(out, t), at(table, id), row_bytes);
    }
  });
}

void CpuOperations::embedding_backward(std::span<const int32_t> ids, const Tensor& d_out, Tensor& d_table,
                                       bool accumulate) {
  check::embedding(dtype(), d_table, ids, d_out);
  if (!accumulate) fill(d_table, 0);
  const TokensById by_id(ids);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(add_to_vector);
  const int64_t hidden = d_table.dim(1);
  arena_.for_pieces(static_cast<int64_t>(by_id.starts.size()) - 1, cpu::rows_per_piece(hidden),
                    [&](int64_t first, int64_t last) {
                      const size_t end = by_id.starts[static_cast<size_t>(last)];
                      for (size_t i = by_id.starts[static_cast<size_t>(first)]; i < end; ++i) {
                        const int32_t token = by_id.tokens[i];
                        kernel(at(d_out, token), at(d_table, ids[static_cast<size_t>(token)]), hidden);
                      }
                    });
}

}  // namespace collie
#endif  // HWY_ONCE
