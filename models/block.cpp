#include "models/block.hpp"

#include "models/once_per_micro_batch.hpp"

namespace collie {

std::vector<Tensor*> BlockStash::kept() {
  std::vector<Tensor*> all;
  attention.append_kept_to(all);
  mlp.append_kept_to(all);
  return all;
}

static std::optional<Bottleneck> bottleneck_of(const BottleneckIds& ids,
                                               const std::optional<BottleneckAdapter>& adapter) {
  if (!ids.down.exists()) return std::nullopt;
  return Bottleneck(ids, *adapter);
}

DecoderBlock::DecoderBlock(const ModelConfig& config, int64_t block, const BlockIds& ids,
                           const RotaryTables& tables, const LinearFactory& linears, Recompute recompute,
                           const std::optional<BottleneckAdapter>& bottleneck)
    : parallel_(config.parallel_branches),
      shares_norm_(ids.mlp_norm.weight != no_parameter && ids.mlp_norm.weight == ids.attention_norm.weight),
      attention_(config.norm, ids.attention_norm, Attention(config, block, ids, tables, linears),
                 ids.attention_output_norm,
                 {config.dropout.residual, fmt::format("block {}/attention", block)},
                 bottleneck_of(ids.attention_bottleneck, bottleneck), config.residual_scale),
      mlp_(config.norm, ids.mlp_norm, Mlp(config, ids, linears), ids.mlp_output_norm,
           {config.dropout.residual, fmt::format("block {}/mlp", block)},
           bottleneck_of(ids.mlp_bottleneck, bottleneck), config.residual_scale),
      recompute_(recompute) {
  COLLIE_ASSERT(!parallel_ || config.residual_scale == 0, "branches side by side have residuals scaled by {}",
                config.residual_scale);
}

ResidualStream DecoderBlock::forward(LayerContext& context, const TokenLayout& layout, ResidualStream stream,
                                     BlockStash* stash) const {
  Operations& operations = context.operations;
  const Category of_output = stash ? Category::activations : Category::workspace;
  BlockStash* const kept = recompute_ == Recompute::full ? nullptr : stash;
  ResidualStream beside;  // the MLP's, where it reads what attention reads
  if (parallel_) beside.x = stream.sum(operations);
  Tensor input = attention_.forward(context, layout, stream, kept ? &kept->attention : nullptr,
                                    kept ? Category::activations : Category::workspace);
  if (stash) stash->attention.input = input;
  input = {};
  if (recompute_ == Recompute::selective && stash) attention_.forget_what_is_cheap(stash->attention);
  mlp_.forward(context, layout, parallel_ ? beside : stream, kept ? &kept->mlp : nullptr, of_output);
  if (recompute_ == Recompute::selective && stash) mlp_.forget_what_is_cheap(stash->mlp);
  if (parallel_) operations.add(beside.delta, stream.delta, stream.delta);
  return stream;
}

void DecoderBlock::compute_again(LayerContext& context, const TokenLayout& layout, BlockStash& stash) const {
  if (recompute_ == Recompute::none) return;
  if (recompute_ == Recompute::selective) {
    attention_.compute_what_is_cheap(context, stash.attention);
    return mlp_.compute_what_is_cheap(context, stash.mlp);
  }
  // What the block adds at its end is nobody's input in its backward.
  ResidualStream stream{stash.attention.input, {}};
  if (parallel_) {
    attention_.keep(context, layout, stream, stash.attention);
    stream = {stash.attention.input, {}};
  } else {
    attention_.forward(context, layout, stream, &stash.attention, Category::activations);
  }
  mlp_.keep(context, layout, stream, stash.mlp);
}

Tensor DecoderBlock::backward_input(LayerContext& context, const TokenLayout& layout, const Tensor& d_output,
                                    BlockStash& stash, bool wanted) const {
  compute_again(context, layout, stash);
  const bool middle_wanted = wanted || !parallel_;
  const Tensor d_middle = mlp_.backward_input(context, layout, d_output, d_output, stash.mlp, middle_wanted);
  return attention_.backward_input(context, layout, parallel_ ? d_output : d_middle, d_middle,
                                   stash.attention, wanted);
}

void DecoderBlock::backward_weight(LayerContext& context, BlockStash& stash) const {
  std::optional<OnceOpened> sink;  // a gradient is one contribution, also where it is of two uses
  if (shares_norm_ && context.sink) sink.emplace(*context.sink);
  LayerContext inner = context;
  if (sink) inner.sink = &*sink;
  mlp_.backward_weight(inner, stash.mlp);
  attention_.backward_weight(inner, stash.attention);
  if (sink) sink->finish();
}

ResidualStream DecoderBlock::decode(LayerContext& context, const TokenLayout& layout, ResidualStream stream,
                                    std::span<DecodedSequence> sequences) const {
  ResidualStream beside;  // the MLP's, where it reads what attention reads
  if (parallel_) beside.x = stream.sum(context.operations);
  attention_.decode(context, layout, stream, sequences);
  mlp_.forward(context, layout, parallel_ ? beside : stream, nullptr, Category::workspace);
  if (parallel_) context.operations.add(beside.delta, stream.delta, stream.delta);
  return stream;
}

}  // namespace collie
