#include "models/block.hpp"

namespace collie {

namespace {

// The norm of the stream, which is settled by it: [tokens, hidden].
Tensor normed(LayerContext& context, const RmsNorm& norm, ResidualStream& stream, Category category,
              Tensor& inverse_rms) {
  Operations& operations = context.operations;
  const Shape shape = stream.x.shape();
  Tensor y = operations.empty(shape, category);
  inverse_rms = operations.empty({shape[0]}, operations.accumulation_dtype(), category);
  norm.forward(context, stream, y, inverse_rms);
  return y;
}

Category category_of(const BlockStash* stash) {
  return stash ? Category::activations : Category::workspace;
}

}  // namespace

std::vector<Tensor*> BlockStash::kept() {
  return {&input,
          &attention_inverse_rms,
          &attention_normed,
          &attention.qkv,
          &attention.log_sum_exp,
          &attention.attended,
          &middle,
          &mlp_inverse_rms,
          &mlp_normed,
          &mlp.gate,
          &mlp.up,
          &mlp.activated};
}

DecoderBlock::DecoderBlock(const ModelConfig& config, const BlockIds& ids, const RotaryTables& tables,
                           Recompute recompute)
    : attention_norm_(ids.attention_norm, config.rms_norm_eps),
      mlp_norm_(ids.mlp_norm, config.rms_norm_eps),
      attention_(config, ids, tables),
      mlp_(config, ids),
      recompute_(recompute) {}

void DecoderBlock::attention_half(LayerContext& context, const TokenLayout& layout, ResidualStream& stream,
                                  BlockStash* stash) const {
  Tensor inverse_rms;
  Tensor x = normed(context, attention_norm_, stream, category_of(stash), inverse_rms);
  stream.delta = context.operations.empty(x.shape(), category_of(stash));
  attention_.forward(context, layout, x, stream.delta, stash ? &stash->attention : nullptr);
  if (!stash) return;
  stash->attention_inverse_rms = std::move(inverse_rms);
  stash->attention_normed = std::move(x);
}

void DecoderBlock::mlp_half(LayerContext& context, ResidualStream& stream, BlockStash* stash,
                            Category of_output) const {
  Tensor inverse_rms;
  Tensor x = normed(context, mlp_norm_, stream, category_of(stash), inverse_rms);
  if (stash) stash->middle = stream.x;
  stream.delta = context.operations.empty(x.shape(), of_output);
  mlp_.forward(context, x, stream.delta, stash ? &stash->mlp : nullptr);
  if (!stash) return;
  stash->mlp_inverse_rms = std::move(inverse_rms);
  stash->mlp_normed = std::move(x);
}

ResidualStream DecoderBlock::forward(LayerContext& context, const TokenLayout& layout, ResidualStream stream,
                                     BlockStash* stash) const {
  BlockStash* const kept = recompute_ == Recompute::full ? nullptr : stash;
  attention_half(context, layout, stream, kept);
  if (stash) stash->input = stream.x;
  if (recompute_ == Recompute::selective && stash) stash->attention_normed = Tensor();
  mlp_half(context, stream, kept, category_of(stash));
  if (recompute_ == Recompute::selective && stash) stash->mlp_normed = stash->mlp.activated = Tensor();
  return stream;
}

void DecoderBlock::compute_again(LayerContext& context, const TokenLayout& layout, BlockStash& stash) const {
  if (recompute_ == Recompute::none) return;
  ResidualStream stream{stash.input, {}};
  if (recompute_ == Recompute::selective) {
    ResidualStream middle{stash.middle, {}};
    stash.attention_normed =
        normed(context, attention_norm_, stream, Category::activations, stash.attention_inverse_rms);
    stash.mlp_normed = normed(context, mlp_norm_, middle, Category::activations, stash.mlp_inverse_rms);
    return mlp_.activate(context.operations, stash.mlp, Category::activations);
  }
  attention_half(context, layout, stream, &stash);
  stash.mlp_normed = normed(context, mlp_norm_, stream, Category::activations, stash.mlp_inverse_rms);
  stash.middle = std::move(stream.x);
  // What the block adds at its end is nobody's input in its backward.
  mlp_.widen(context, stash.mlp_normed, stash.mlp, Category::activations);
}

Tensor DecoderBlock::backward_input(LayerContext& context, const TokenLayout& layout, const Tensor& d_output,
                                    BlockStash& stash) const {
  compute_again(context, layout, stash);
  Operations& operations = context.operations;
  const Shape shape = d_output.shape();
  stash.d_output = d_output;
  stash.d_mlp_normed = operations.empty(shape, Category::activations);
  mlp_.backward_input(context, d_output, stash.d_mlp_normed, stash.mlp);
  stash.d_middle = operations.empty(shape, Category::activations);
  mlp_norm_.backward_input(context, stash.d_mlp_normed, stash.middle, stash.mlp_inverse_rms, d_output,
                           stash.d_middle);

  stash.d_attention_normed = operations.empty(shape, Category::activations);
  attention_.backward_input(context, layout, stash.d_middle, stash.d_attention_normed, stash.attention);
  Tensor d_input = operations.empty(shape, Category::activations);
  attention_norm_.backward_input(context, stash.d_attention_normed, stash.input, stash.attention_inverse_rms,
                                 stash.d_middle, d_input);
  return d_input;
}

void DecoderBlock::backward_weight(LayerContext& context, BlockStash& stash) const {
  mlp_.backward_weight(context, stash.mlp_normed, stash.d_output, stash.mlp);
  stash.mlp_normed = stash.d_output = Tensor();
  mlp_norm_.backward_weight(context, stash.d_mlp_normed, stash.middle, stash.mlp_inverse_rms);
  stash.d_mlp_normed = stash.middle = Tensor();
  attention_.backward_weight(context, stash.attention_normed, stash.d_middle, stash.attention);
  stash.attention_normed = stash.d_middle = Tensor();
  attention_norm_.backward_weight(context, stash.d_attention_normed, stash.input,
                                  stash.attention_inverse_rms);
  stash = BlockStash();
}

ResidualStream DecoderBlock::decode(LayerContext& context, const TokenLayout& layout, ResidualStream stream,
                                    Tensor& cache, int64_t cached) const {
  Tensor inverse_rms;
  Tensor x = normed(context, attention_norm_, stream, Category::workspace, inverse_rms);
  stream.delta = context.operations.empty(x.shape(), Category::workspace);
  attention_.decode(context, layout, x, stream.delta, cache, cached);
  x = inverse_rms = Tensor();
  mlp_half(context, stream, nullptr, Category::workspace);
  return stream;
}

}  // namespace collie
