// Multi-head attention with grouped keys and values and rotary positions, between its four projections. With
// tensor parallelism a rank has a share of the heads: `heads` and `kv_heads` are those it has.
#pragma once

#include <memory>
#include <span>

#include "models/context_slice.hpp"
#include "models/linear.hpp"
#include "models/model_config.hpp"
#include "models/parameter_list.hpp"
#include "models/rotary.hpp"

namespace collie {

// Where the tokens of a micro-batch stand: the same for every block.
struct TokenLayout {
  AttentionSpans spans;
  std::span<const int32_t> positions;  // [tokens]
  const ContextSlice* slice =
      nullptr;  // with context parallelism: the tokens are its own, instead of `spans`
};

struct AttentionStash {
  Tensor qkv;          // [tokens, (heads + 2 kv_heads) head_dim], rotated; until backward_input
  Tensor log_sum_exp;  // [tokens, heads]; until backward_input
  Tensor attended;     // [tokens, heads head_dim], input of o
  Tensor d_qkv;        // [tokens, (heads + 2 kv_heads) head_dim], from backward_input on
};

class Attention {
 public:
  // `config`: of what the rank computes (share_of() in sharding.hpp).
  Attention(const ModelConfig& config, const BlockIds& ids, const RotaryTables& tables);

  // x, y [tokens, hidden], those that the rank holds outside the matrices (tensor_parallel.hpp). `stash` is
  // null where there is no backward.
  void forward(LayerContext& context, const TokenLayout& layout, const Tensor& x, Tensor& y,
               AttentionStash* stash) const;
  // Overwrites dx.
  void backward_input(LayerContext& context, const TokenLayout& layout, const Tensor& dy, Tensor& dx,
                      AttentionStash& stash) const;
  void backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy, AttentionStash& stash) const;

  // Elements of a token's keys and values together.
  int64_t cache_width() const { return 2 * kv_width_; }
  // cache [capacity, cache_width] holds `cached` tokens; those of x are appended.
  void decode(LayerContext& context, const TokenLayout& layout, const Tensor& x, Tensor& y, Tensor& cache,
              int64_t cached) const;

 private:
  // The three parts of a packed buffer, each as [tokens, heads, head_dim] and as [tokens, width].
  Tensor q_of(const Tensor& qkv) const { return qkv.columns(0, q_width_); }
  Tensor k_of(const Tensor& qkv) const { return qkv.columns(q_width_, q_width_ + kv_width_); }
  Tensor v_of(const Tensor& qkv) const { return qkv.columns(q_width_ + kv_width_, q_width_ + 2 * kv_width_); }
  Tensor key_values_of(const Tensor& qkv) const { return qkv.columns(q_width_, q_width_ + 2 * kv_width_); }
  Tensor heads_of(const Tensor& x) const { return x.reshape({x.dim(0), x.dim(1) / head_dim_, head_dim_}); }

  // Queries, keys and values of all tokens, packed and rotated.
  Tensor project(LayerContext& context, const TokenLayout& layout, const Tensor& x, Category category) const;
  // Attention itself, over this rank's tokens or around the ring. attended, d_attended [tokens, heads
  // head_dim].
  void attend(LayerContext& context, const TokenLayout& layout, const Tensor& qkv, Tensor& attended,
              Tensor& log_sum_exp) const;
  void attend_backward(LayerContext& context, const TokenLayout& layout, const AttentionStash& stash,
                       const Tensor& d_attended, Tensor& d_qkv) const;
  void rotate(LayerContext& context, const TokenLayout& layout, Tensor& qkv, bool inverse) const;

  std::unique_ptr<Linear> q_, k_, v_, o_;
  RotaryTables tables_;  // shared handles
  int64_t head_dim_, q_width_, kv_width_;
  double score_scale_;
};

}  // namespace collie
