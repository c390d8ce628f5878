// One decoder block of two branches, attention and the MLP. One after the other: m = x + attention(norm(x)),
// y = m + mlp(norm(m)); or side by side: y = x + attention(norm(x)) + mlp(norm(x)), with a norm each or with
// one norm. With scaled residuals (ModelConfig::residual_scale), which are for branches one after the
// other: n = norm(x), m = α n + attention(n), p = norm(m), y = α p + mlp(p).
#pragma once

#include <vector>

#include "models/activation_memory.hpp"
#include "models/branch.hpp"
#include "models/mlp.hpp"

namespace collie {

struct BlockStash {
  BranchStash<Attention> attention;
  BranchStash<Mlp> mlp;

  // All that forward leaves here; what is recomputed is undefined.
  std::vector<Tensor*> kept();
};

class DecoderBlock {
 public:
  // Block `block` of the model. `config`: of what the rank computes (share_of() in sharding.hpp).
  // `bottleneck` is that of both branches, if `ids` has any.
  DecoderBlock(const ModelConfig& config, int64_t block, const BlockIds& ids, const RotaryTables& tables,
               const LinearFactory& linears, Recompute recompute = Recompute::none,
               const std::optional<BottleneckAdapter>& bottleneck = {});

  // `stash` is null where there is no backward.
  ResidualStream forward(LayerContext& context, const TokenLayout& layout, ResidualStream stream,
                         BlockStash* stash) const;
  // d(output) [tokens, hidden] -> d(input), undefined if it is not `wanted`.
  Tensor backward_input(LayerContext& context, const TokenLayout& layout, const Tensor& d_output,
                        BlockStash& stash, bool wanted = true) const;
  // Empties the stash.
  void backward_weight(LayerContext& context, BlockStash& stash) const;

  int64_t cache_width() const { return attention_.layer().cache_width(); }
  // The stream has the next tokens of sequences, which are appended to their caches.
  ResidualStream decode(LayerContext& context, const TokenLayout& layout, ResidualStream stream,
                        std::span<DecodedSequence> sequences) const;

 private:
  // Fills in what forward did not keep.
  void compute_again(LayerContext& context, const TokenLayout& layout, BlockStash& stash) const;

  bool parallel_;
  bool shares_norm_;  // the two norms have the same weights
  Branch<Attention> attention_;
  Branch<Mlp> mlp_;
  Recompute recompute_;
};

}  // namespace collie
