#include "models/block.hpp"

namespace collie {
DecoderBlock::DecoderBlock(const ModelConfig& config, const BlockIds& ids, const RotaryTables& tables)
    : attention_norm_(ids.attention_norm, config.rms_norm_eps),
      mlp_norm_(ids.mlp_norm, config.rms_norm_eps),
      attention_(config, ids, tables),
      mlp_(config, ids) {}

ResidualStream DecoderBlock::forward(LayerContext& context, const TokenLayout& layout, ResidualStream stream,
                                     BlockStash* stash) const {
  Operations& operations = context.operations;
  const Category category = stash ? Category::activations : Category::workspace;
  const Shape shape = stream.x.shape();
  Tensor normed = operations.empty(shape, category);
  Tensor inverse_rms = operations.empty({shape[0]}, operations.wide(), category);
  attention_norm_.forward(context, stream, normed, inverse_rms);
  stream.delta = operations.empty(shape, category);
  attention_.forward(context, layout, normed, stream.delta, stash ? &stash->attention : nullptr);
  if (stash) {
    stash->input = stream.x;
    stash->attention_inverse_rms = std::move(inverse_rms);
    stash->attention_normed = std::move(normed);
    normed = operations.empty(shape, category);
    inverse_rms = operations.empty({shape[0]}, operations.wide(), category);
  }
  mlp_norm_.forward(context, stream, normed, inverse_rms);
  if (stash) stash->middle = stream.x;
  stream.delta = operations.empty(shape, category);
  mlp_.forward(context, normed, stream.delta, stash ? &stash->mlp : nullptr);
  if (stash) {
    stash->mlp_inverse_rms = std::move(inverse_rms);
    stash->mlp_normed = std::move(normed);
  }
  return stream;
}

Tensor DecoderBlock::backward_input(LayerContext& context, const TokenLayout& layout, const Tensor& d_output,
                                    BlockStash& stash) const {
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
  Operations& operations = context.operations;
  const Shape shape = stream.x.shape();
  Tensor normed = operations.empty(shape, Category::workspace);
  Tensor inverse_rms = operations.empty({shape[0]}, operations.wide(), Category::workspace);
  attention_norm_.forward(context, stream, normed, inverse_rms);
  stream.delta = operations.empty(shape, Category::workspace);
  attention_.decode(context, layout, normed, stream.delta, cache, cached);
  mlp_norm_.forward(context, stream, normed, inverse_rms);
  stream.delta = operations.empty(shape, Category::workspace);
  mlp_.forward(context, normed, stream.delta, nullptr);
  return stream;
}

}  // namespace collie
