// One decoder block: y = m + mlp(norm(m)), m = x + attention(norm(x)).
#pragma once

#include <vector>

#include "models/activation_memory.hpp"
#include "models/attention.hpp"
#include "models/mlp.hpp"
#include "models/norm.hpp"

namespace collie {

// What a block keeps of one micro-batch. All [tokens, hidden] but the inverse_rms, [tokens]. What is
// recomputed is undefined from forward until backward_input.
struct BlockStash {
  Tensor input, attention_inverse_rms, attention_normed;
  AttentionStash attention;
  Tensor middle, mlp_inverse_rms, mlp_normed;
  MlpStash mlp;
  // From backward_input on, for backward_weight:
  Tensor d_output, d_mlp_normed, d_middle, d_attention_normed;

  // All that forward leaves here; what is recomputed is undefined.
  std::vector<Tensor*> kept();
};

class DecoderBlock {
 public:
  DecoderBlock(const ModelConfig& config, const BlockIds& ids, const RotaryTables& tables,
               Recompute recompute = Recompute::none);

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
  // Each half leaves what it adds to the stream in stream.delta. `stash`: null where nothing is kept.
  void attention_half(LayerContext& context, const TokenLayout& layout, ResidualStream& stream,
                      BlockStash* stash) const;
  void mlp_half(LayerContext& context, ResidualStream& stream, BlockStash* stash, Category of_output) const;
  // Fills in what forward did not keep.
  void compute_again(LayerContext& context, const TokenLayout& layout, BlockStash& stash) const;

  RmsNorm attention_norm_, mlp_norm_;
  Attention attention_;
  Mlp mlp_;
  Recompute recompute_;
};

}  // namespace collie
