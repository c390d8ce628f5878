#include "kernels/cuda/cudnn/packing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>

namespace collie::cuda {

namespace {

constexpr int64_t largest_head_dim = 256, head_dim_step = 8, alignment = 16, shortest = 128;

}  // namespace

int64_t rounded_up(int64_t size) {
  const auto power = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(size)));
  const int64_t smaller = power / 4 * 3;
  return size <= smaller ? smaller : power;
}

CudnnPacking::CudnnPacking(const Documents& documents)
    : causal_(documents.causal), window_(documents.window), past_keys_(documents.past_keys) {
  for (size_t d = 0; d + 1 < documents.query_starts.size(); ++d) {
    const int32_t queries = documents.query_starts[d + 1] - documents.query_starts[d],
                  keys = documents.key_starts[d + 1] - documents.key_starts[d];
    if (queries == 0 && keys == 0) continue;
    one_sided_ = one_sided_ || queries == 0 || keys == 0;
    alike_ = alike_ && queries == keys;
    one_key_each_ = one_key_each_ && documents.of_one_key[d] == queries;
    longest_query_ = std::max<int64_t>(longest_query_, queries);
    longest_key_ = std::max<int64_t>(longest_key_, keys);
    query_lengths_.push_back(queries);
    key_lengths_.push_back(keys);
    query_starts_.push_back(documents.query_starts[d]);
    key_starts_.push_back(documents.key_starts[d]);
  }
  count_ = static_cast<int64_t>(query_lengths_.size());
  if (count_ == 0) return;
  const auto padded = static_cast<size_t>(rounded_up(count_));
  query_lengths_.resize(padded, 0);
  key_lengths_.resize(padded, 0);
  query_starts_.resize(padded + 1, documents.query_starts.back());
  key_starts_.resize(padded + 1, documents.key_starts.back());
}

std::string CudnnPacking::refusal(const AttentionViews& views, std::span<const Matrix> matrices) const {
  if (views.head_dim % head_dim_step != 0 || views.head_dim > largest_head_dim)
    return fmt::format("head_dim {} is no multiple of {} up to {}", views.head_dim, head_dim_step,
                       largest_head_dim);
  if (!views.rules.plain()) return "scores have a soft cap, or weights are dropped";
  if (past_keys_ > 0) return "queries with a window stand past all keys";
  if (one_sided_) return "a document has keys, but no queries";
  for (const Matrix& matrix : matrices) {
    const auto address = reinterpret_cast<uintptr_t>(matrix.data);
    if (address % alignment != 0 || matrix.stride * 2 % alignment != 0)
      return fmt::format("rows do not start at multiples of {} bytes", alignment);
    // Offsets are int32. If all heads have rows of their own, they are multiplied by the number of heads that
    // share keys.
    if (matrix.rows * matrix.stride * (views.heads / views.kv_heads) > std::numeric_limits<int32_t>::max())
      return "a matrix has more elements than int32 counts";
  }
  return "";
}

CudnnAttentionShape CudnnPacking::shape(const AttentionViews& views) const {
  const auto bound = [](int64_t longest) { return rounded_up(std::max(shortest, longest)); };
  return {rounded_up(count_),
          longest_query_ == 1 ? 1 : bound(longest_query_),  // generation has its own engines
          bound(longest_key_),
          views.heads,
          views.kv_heads,
          views.head_dim,
          !causal_ ? CudnnMask::none
          : alike_ ? CudnnMask::causal
                   : CudnnMask::causal_last,
          causal_ && window_ > 0 && window_ < longest_key_,
          {views.q.stride, views.k.stride, views.v.stride, views.out.stride}};
}

std::vector<int32_t> CudnnPacking::times(const std::vector<int32_t>& starts, int64_t stride) {
  std::vector<int32_t> offsets;
  offsets.reserve(starts.size());
  for (const int32_t start : starts) offsets.push_back(static_cast<int32_t>(start * stride));
  return offsets;
}

}  // namespace collie::cuda
