// Packed documents as cuDNN's attention takes them.
#pragma once

#include <string>
#include <vector>

#include "kernels/cuda/attention/attention.hpp"
#include "kernels/cuda/cudnn/attention_graph.hpp"

namespace collie::cuda {

// Sizes that plans are made for: the next power of two, or one and a half of one.
int64_t rounded_up(int64_t size);

// The documents that have any tokens, and after them empty ones, up to a size that plans are made for.
class CudnnPacking {
 public:
  explicit CudnnPacking(const Documents& documents);

  bool empty() const { return count_ == 0; }
  // Whether every query sees one key and no other. The gradients of their scores are zero, which cuDNN would
  // fill with rounding noise.
  bool one_key_each() const { return one_key_each_; }
  // Why cuDNN is not asked for such tensors; "": it is. matrices: all that it would read or write.
  std::string refusal(const AttentionViews& views, std::span<const Matrix> matrices) const;
  // Of the forward. Not of an empty packing.
  CudnnAttentionShape shape(const AttentionViews& views) const;

  const std::vector<int32_t>& query_lengths() const { return query_lengths_; }
  const std::vector<int32_t>& key_lengths() const { return key_lengths_; }
  // Where documents start, in elements of a matrix of such rows, and after them the end.
  std::vector<int32_t> query_offsets(int64_t stride) const { return times(query_starts_, stride); }
  std::vector<int32_t> key_offsets(int64_t stride) const { return times(key_starts_, stride); }

 private:
  static std::vector<int32_t> times(const std::vector<int32_t>& starts, int64_t stride);
  const bool causal_;
  const int64_t window_;
  int64_t count_ = 0, longest_query_ = 0, longest_key_ = 0;
  bool alike_ = true, one_sided_ = false, one_key_each_ = true;
  std::vector<int32_t> query_lengths_, key_lengths_, query_starts_, key_starts_;
};

}  // namespace collie::cuda
