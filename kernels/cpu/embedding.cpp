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

using cpu::Elements;

// Columns that are summed at a time. Their sums stay in the cache, as floats.
constexpr int64_t most_columns = 512;

// sum[j] += x[tokens[0], j] + x[tokens[1], j] + ..., in this order, for j < columns <= most_columns. The sum
// is rounded once.
template <class T, class S>
HWY_INLINE void add_rows(const T* x, int64_t stride, const int32_t* tokens, size_t count, S* sum,
                         int64_t columns) {
  HWY_ALIGN float total[most_columns];
  for_each_vector(columns,
                  [&](int64_t j, auto access) HWY_ATTR { access.store(access.load(sum + j), total + j); });
  for (size_t token = 0; token < count; ++token) {
    const T* const row = x + tokens[token] * stride;
    for_each_vector(columns, [&](int64_t j, auto access) HWY_ATTR {
      access.store(hn::Add(access.load(total + j), access.load(row + j)), total + j);
    });
  }
  for_each_vector(columns,
                  [&](int64_t j, auto access) HWY_ATTR { access.store(access.load(total + j), sum + j); });
}

void add_rows_of_tokens(Elements rows, int64_t stride, const int32_t* tokens, size_t count, Elements sums,
                        int64_t columns) {
  typed(
      [&](auto* x) HWY_ATTR {
        typed(
            [&](auto* sum) HWY_ATTR {
              for (int64_t first = 0; first < columns; first += most_columns)
                add_rows(x + first, stride, tokens, count, sum + first,
                         HWY_MIN(most_columns, columns - first));
            },
            sums);
      },
      rows);
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(add_rows_of_tokens);

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
  const size_t row_bytes = static_cast<size_t>(table.dim(1)) * size_of(table.dtype());
  arena_.for_pieces(out.dim(0), cpu::rows_per_piece(table.dim(1)), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      const int32_t id = ids[static_cast<size_t>(t)];
      if (id == absent_id)
        cpu::clear(at(out, t), out.dim(1));
      else
        std::memcpy(at(out, t).data, at(table, id).data, row_bytes);
    }
  });
}

void CpuOperations::embedding_backward(std::span<const int32_t> ids, const Tensor& d_out, Tensor& d_table,
                                       bool accumulate) {
  check::embedding(dtype(), d_table, ids, d_out);
  if (!accumulate) fill(d_table, 0);
  const TokensById by_id(ids);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(add_rows_of_tokens);
  const int64_t hidden = d_table.dim(1);
  arena_.for_pieces(
      static_cast<int64_t>(by_id.starts.size()) - 1, cpu::rows_per_piece(hidden),
      [&](int64_t first, int64_t last) {
        for (auto which = static_cast<size_t>(first); which < static_cast<size_t>(last); ++which) {
          const size_t begin = by_id.starts[which];
          const int32_t* const tokens = by_id.tokens.data() + begin;
          kernel(cpu::elements_of(d_out), d_out.row_stride(), tokens, by_id.starts[which + 1] - begin,
                 at(d_table, ids[static_cast<size_t>(*tokens)]), hidden);
        }
      });
}

}  // namespace collie
#endif  // HWY_ONCE
