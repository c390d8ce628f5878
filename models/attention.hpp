// Multi-head attention with grouped keys and values, between its projections; rotary positions where the
// model has them. With tensor parallelism a rank has a share of the heads: `heads` and `kv_heads` are those
// it has.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "models/context_attention.hpp"
#include "models/context_slice.hpp"
#include "models/linear.hpp"
#include "models/model_config.hpp"
#include "models/norm.hpp"
#include "models/prefix.hpp"
#include "models/rotary.hpp"

namespace collie {

// Where the tokens of a micro-batch stand: the same for every block.
struct TokenLayout {
  AttentionSpans spans;
  std::span<const int32_t> positions;  // [tokens]
  const ContextSlice* slice =
      nullptr;  // with context parallelism: the tokens are its own, instead of `spans`
  std::span<const uint64_t> rows = {};   // [tokens] their numbers in the run, where something is dropped
  std::span<const int32_t> angles = {};  // [tokens] rows of the rotary tables; empty: the positions
  // Of a model that fills in blanks (models/blanks.hpp), otherwise empty:
  std::span<const int32_t> contexts = {};       // [documents] their first tokens that see each other
  std::span<const int32_t> second_angles = {};  // [tokens] those of the second half of each head
};

// What the norm of queries or of keys keeps: rows are [tokens · heads, head_dim].
struct HeadNormStash {
  Tensor input, statistics;  // until backward_weight
  Tensor d_output;           // from backward_input on
};

// The next tokens of one of several sequences, and what a block holds of it.
struct DecodedSequence {
  TokenRange rows;      // its tokens
  Tensor cache;         // [prefix + capacity, cache_width]
  int64_t cached = 0;   // tokens that the cache holds, without those of a prefix, which come first
  int64_t context = 0;  // the first of its tokens here, which see each other; 0 if none do
};

struct AttentionStash {
  Tensor qkv;          // [tokens, (heads + 2 kv_heads) head_dim], rotated; until backward_input
  Tensor log_sum_exp;  // [tokens, heads]; until backward_input
  Tensor attended;     // [tokens, heads head_dim], input of o
  Tensor d_qkv;        // [tokens, (heads + 2 kv_heads) head_dim], from backward_input on
  Tensor d_prefix;     // of the prefix, where there is one, from backward_input on
  LinearStash of_qkv, of_o;
  HeadNormStash of_q_norm, of_k_norm;

  void append_kept_to(std::vector<Tensor*>& all);
};

class Attention {
 public:
  using Stash = AttentionStash;

  // `config`: of what the rank computes (share_of() in sharding.hpp). `tables` are undefined where nothing is
  // rotated.
  Attention(const ModelConfig& config, int64_t block, const BlockIds& ids, const RotaryTables& tables,
            const LinearFactory& linears);

  // x, y [tokens, hidden], those that the rank holds outside the matrices (tensor_parallel.hpp). `stash` is
  // null where there is no backward.
  void forward(LayerContext& context, const TokenLayout& layout, const Tensor& x, Tensor& y,
               AttentionStash* stash) const;
  // Fills the stash as forward does, where y is not needed again.
  void keep(LayerContext& context, const TokenLayout& layout, const Tensor& x, AttentionStash& stash) const;
  // Of what costs no matrix product nothing is kept.
  void forget_what_is_cheap(AttentionStash&) const {}
  void compute_what_is_cheap(Operations&, AttentionStash&) const {}
  // Overwrites dx; if it is undefined, nobody needs it.
  void backward_input(LayerContext& context, const TokenLayout& layout, const Tensor& dy, Tensor& dx,
                      AttentionStash& stash) const;
  void backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy, AttentionStash& stash) const;

  // Elements of a token's keys and values together.
  int64_t cache_width() const { return 2 * kv_width_; }
  // Appends the tokens of x to the caches of their sequences. Each sequence sees itself alone.
  void decode(LayerContext& context, const TokenLayout& layout, const Tensor& x, Tensor& y,
              std::span<DecodedSequence> sequences) const;

 private:
  // The three parts of a packed buffer, each as [tokens, heads, head_dim] and as [tokens, width].
  Tensor q_of(const Tensor& qkv) const { return qkv.columns(0, q_width_); }
  Tensor k_of(const Tensor& qkv) const { return qkv.columns(q_width_, q_width_ + kv_width_); }
  Tensor v_of(const Tensor& qkv) const { return qkv.columns(q_width_ + kv_width_, q_width_ + 2 * kv_width_); }
  Tensor key_values_of(const Tensor& qkv) const { return qkv.columns(q_width_, q_width_ + 2 * kv_width_); }
  Tensor heads_of(const Tensor& x) const { return x.reshape({x.dim(0), x.dim(1) / head_dim_, head_dim_}); }
  // Those of the tokens' own keys and values; by parts where documents have contexts.
  std::vector<AttentionPart> own_parts(const TokenLayout& layout) const;
  AttentionSpans own_spans(const TokenLayout& layout) const;
  AttentionScores plain_scores() const;  // without dropout
  // `first_keys` is filled where weights are dropped, and must outlive the scores.
  AttentionScores scores(const LayerContext& context, const TokenLayout& layout,
                         std::vector<uint64_t>& first_keys) const;

  void decode_sequence(LayerContext& context, const Tensor& qkv, DecodedSequence& sequence,
                       Tensor& attended) const;
  // Queries, keys and values of all tokens, packed and rotated.
  Tensor project(LayerContext& context, const TokenLayout& layout, const Tensor& x,
                 AttentionStash* stash) const;
  // The norm of heads, in place. heads [tokens, heads · head_dim] is a part of a packed buffer.
  void normalise_heads(LayerContext& context, const Norm& norm, Tensor heads, HeadNormStash* stash) const;
  void normalise_heads_backward(LayerContext& context, const Norm& norm, Tensor d_heads,
                                HeadNormStash& stash) const;
  // All but the product with o: what o reads.
  Tensor attended_values(LayerContext& context, const TokenLayout& layout, const Tensor& x,
                         AttentionStash* stash) const;
  // Attention itself, over this rank's tokens or around the ring. attended, d_attended [tokens, heads
  // head_dim].
  void attend(LayerContext& context, const TokenLayout& layout, const Tensor& qkv, Tensor& attended,
              Tensor& log_sum_exp) const;
  void attend_backward(LayerContext& context, const TokenLayout& layout, AttentionStash& stash,
                       const Tensor& d_attended, Tensor& d_qkv) const;
  void attend_backward_to_own(LayerContext& context, const TokenLayout& layout, const AttentionStash& stash,
                              const AttentionScores& scores, const Tensor& d_attended, Tensor& d_qkv) const;
  void rotate(LayerContext& context, const TokenLayout& layout, Tensor& qkv, bool inverse) const;

  std::unique_ptr<Linear> qkv_, o_;
  std::optional<Norm> q_norm_, k_norm_;
  std::optional<Prefix> prefix_;
  RotaryTables tables_;  // shared handles
  RotaryPairs pairs_;
  int64_t head_dim_, q_width_, kv_width_, window_;
  double score_scale_, soft_cap_, dropout_;
  std::string place_;  // in the model, for dropout
};

}  // namespace collie
