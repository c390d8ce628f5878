// Packed documents in the form that cuDNN's attention takes.
#pragma once

#include <string>
#include <vector>

#include "kernels/cuda/attention/attention.hpp"
#include "kernels/cuda/cudnn/attention_graph.hpp"

namespace collie::cuda {

// The sizes that plans are made for: rounds up to the next power of two, or one and a half times one.
int64_t rounded_up(int64_t size);

// The documents that have any tokens, followed by empty ones, up to a size that plans are made for.
class CudnnPacking {
 public:
  explicit CudnnPacking(const Documents& documents);

  bool empty() const { return count_ == 0; }
  // Says whether every query sees one key and no other. The gradients of their scores are zero, which cuDNN
  // would fill with rounding noise.
  bool one_key_each() const { return one_key_each_; }
  // The reason why cuDNN is not asked for such tensors, or "" if it is. `matrices` are all that it would read
  // or write.
  std::string refusal(const AttentionViews& views, std::span<const Matrix> matrices) const;
  // The shape of the forward. The packing must not be empty.
  CudnnAttentionShape shape(const AttentionViews& views) const;

  const std::vector<int32_t>& query_lengths() const { return query_lengths_; }
  const std::vector<int32_t>& key_lengths() const { return key_lengths_; }
  // The starts of the documents, and after them the end, in elements of a matrix with such rows.
  std::vector<int32_t> query_offsets(int64_t stride) const { return times(query_starts_, stride); }
  std::vector<int32_t> key_offsets(int64_t stride) const { return times(key_starts_, stride); }

 private:
  static std::vector<int32_t> times(const std::vector<int32_t>& starts, int64_t stride);
  const bool causal_;
  const int64_t window_, past_keys_;
  int64_t count_ = 0, longest_query_ = 0, longest_key_ = 0;
  bool alike_ = true, one_sided_ = false, one_key_each_ = true;
  std::vector<int32_t> query_lengths_, key_lengths_, query_starts_, key_starts_;
};

}  // namespace collie::cuda
