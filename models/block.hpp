// One decoder block: y = m + mlp(norm(m)), m = x + attention(norm(x)).
#pragma once

#include "models/attention.hpp"
#include "models/mlp.hpp"
#include "models/norm.hpp"

namespace collie {

// What a block keeps of one micro-batch. All [tokens, hidden] but the inverse_rms, [tokens].
struct BlockStash {
  Tensor input, attention_inverse_rms, attention_normed;
  AttentionStash attention;
  Tensor middle, mlp_inverse_rms, mlp_normed;
  MlpStash mlp;
  // From backward_input on, for backward_weight:
  Tensor d_output, d_mlp_normed, d_middle, d_attention_normed;
};

class DecoderBlock {
 public:
  DecoderBlock(const ModelConfig& config, const BlockIds& ids, const RotaryTables& tables);

  // `stash` is null where there is no backward.
  ResidualStream forward(LayerContext& context, const TokenLayout& layout, ResidualStream stream,
                         BlockStash* stash) const;
  // d(output) [tokens, hidden] -> d(input).
  Tensor backward_input(LayerContext& context, const TokenLayout& layout, const Tensor& d_output,
                        BlockStash& stash) const;
  // Empties the stash.
  void backward_weight(LayerContext& context, BlockStash& stash) const;

  int64_t cache_width() const { return attention_.cache_width(); }
  // cache [capacity, cache_width] holds `cached` tokens; those of the stream are appended.
  ResidualStream decode(LayerContext& context, const TokenLayout& layout, ResidualStream stream,
                        Tensor& cache, int64_t cached) const;

 private:
  RmsNorm attention_norm_, mlp_norm_;
  Attention attention_;
  Mlp mlp_;
};

}  // namespace collie
