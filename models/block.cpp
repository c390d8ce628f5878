#include "models/block.hpp"

namespace collie {
namespace {

Tensor copy_of(Operations& operations, const Tensor& x) {
  Tensor copy = operations.empty(x.shape(), Category::activations);
  operations.copy(x, copy);
  return copy;
}

}  // namespace

DecoderBlock::DecoderBlock(const ModelConfig& config, const BlockIds& ids, const RotaryTables& tables)
    : attention_norm_(ids.attention_norm, config.rms_norm_eps),
      mlp_norm_(ids.mlp_norm, config.rms_norm_eps),
      attention_(config, ids, tables),
      mlp_(config, ids) {}

Tensor DecoderBlock::forward(LayerContext& context, const TokenLayout& layout, const Tensor& x,
                             BlockStash* stash) const {
  Operations& operations = context.operations;
  const Category category = stash ? Category::activations : Category::workspace;
  Tensor normed = operations.empty(x.shape(), category);
  Tensor inverse_rms = operations.empty({x.dim(0)}, operations.wide(), category);
  attention_norm_.forward(context, x, normed, inverse_rms);
  Tensor middle = operations.empty(x.shape(), category);
  attention_.forward(context, layout, normed, middle, stash ? &stash->attention : nullptr);
  operations.add(middle, x, middle);
  if (stash) {
    stash->input = x;
    stash->attention_inverse_rms = std::move(inverse_rms);
    stash->attention_normed = std::move(normed);
    stash->middle = middle;
    normed = operations.empty(x.shape(), category);
    inverse_rms = operations.empty({x.dim(0)}, operations.wide(), category);
  }
  mlp_norm_.forward(context, middle, normed, inverse_rms);
  Tensor output = operations.empty(x.shape(), category);
  mlp_.forward(context, normed, output, stash ? &stash->mlp : nullptr);
  operations.add(output, middle, output);
  if (stash) {
    stash->mlp_inverse_rms = std::move(inverse_rms);
    stash->mlp_normed = std::move(normed);
  }
  return output;
}

Tensor DecoderBlock::backward_input(LayerContext& context, const TokenLayout& layout, const Tensor& d_output,
                                    BlockStash& stash) const {
  Operations& operations = context.operations;
  stash.d_output = d_output;
  stash.d_mlp_normed = operations.empty(d_output.shape(), Category::activations);
  mlp_.backward_input(context, d_output, stash.d_mlp_normed, stash.mlp);
  stash.d_middle = copy_of(operations, d_output);  // the residual's share
  mlp_norm_.backward_input(context, stash.d_mlp_normed, stash.middle, stash.mlp_inverse_rms, stash.d_middle,
                           true);

  stash.d_attention_normed = operations.empty(d_output.shape(), Category::activations);
  attention_.backward_input(context, layout, stash.d_middle, stash.d_attention_normed, stash.attention);
  Tensor d_input = copy_of(operations, stash.d_middle);
  attention_norm_.backward_input(context, stash.d_attention_normed, stash.input, stash.attention_inverse_rms,
                                 d_input, true);
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

Tensor DecoderBlock::decode(LayerContext& context, const TokenLayout& layout, const Tensor& x, Tensor& cache,
                            int64_t cached) const {
  Operations& operations = context.operations;
  Tensor normed = operations.empty(x.shape(), Category::workspace);
  Tensor inverse_rms = operations.empty({x.dim(0)}, operations.wide(), Category::workspace);
  attention_norm_.forward(context, x, normed, inverse_rms);
  Tensor middle = operations.empty(x.shape(), Category::workspace);
  attention_.decode(context, layout, normed, middle, cache, cached);
  operations.add(middle, x, middle);
  mlp_norm_.forward(context, middle, normed, inverse_rms);
  Tensor output = operations.empty(x.shape(), Category::workspace);
  mlp_.forward(context, normed, output, nullptr);
  operations.add(output, middle, output);
  return output;
}

}  // namespace collie
