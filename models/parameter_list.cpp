#include "models/parameter_list.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "models/families/family.hpp"
#include "models/stage_model.hpp"

namespace collie {
namespace {

int last_layer(const std::vector<Parameter>& list) {
  return list.empty() ? -1 : list.back().layer;
}

// "model.layers.3." of "model.layers.3.self_attn.o_proj.weight"
std::string prefix_of_block(const std::string& name, int64_t block) {
  const std::string number = fmt::format(".{}.", block);
  const size_t at = name.find(number);
  COLLIE_ASSERT(at != std::string::npos, "{} is not a name in block {}", name, block);
  return name.substr(0, at + number.size());
}

}  // namespace

EmbeddingIds add_embedding(const ModelSpec& model, std::vector<Parameter>& list, const ModelShard& shard) {
  LayerParameters layer(model, shard, last_layer(list) + 1, list);
  const TensorNames& names = family_of(model.architecture).names;
  EmbeddingIds ids;
  ids.tokens = layer.add_vocabulary(names.embedding, false);
  if (model.architecture.positions == Positions::learned)
    ids.positions = layer.add_positions(names.positions);
  if (model.prompt.kind == PromptKind::embeddings || model.prompt.has_encoder())
    ids.prompt = layer.add_prompt();
  return ids;
}

BlockIds add_block(const ModelSpec& model, int64_t block, std::vector<Parameter>& list,
                   const ModelShard& shard) {
  LayerParameters layer(model, shard, last_layer(list) + 1, list);
  BlockIds ids = family_of(model.architecture).add_block(layer, block);
  if (model.prompt.kind == PromptKind::prefix) ids.prefix = layer.add_prefix(block);
  if (!model.bottleneck) return ids;
  const std::string prefix = prefix_of_block(list[static_cast<size_t>(ids.o.weight)].name, block);
  if (model.bottleneck->after_attention)
    ids.attention_bottleneck = layer.add_bottleneck(prefix + "attention_adapters");
  ids.mlp_bottleneck = layer.add_bottleneck(prefix + "output_adapters");
  return ids;
}

NormIds add_final_norm(const ModelSpec& model, std::vector<Parameter>& list, const ModelShard& shard) {
  return LayerParameters(model, shard, last_layer(list) + 1, list)
      .add_norm(family_of(model.architecture).names.final_norm);
}

MatrixIds add_head(const ModelSpec& model, std::vector<Parameter>& list, const ModelShard& shard) {
  const TensorNames& names = family_of(model.architecture).names;
  const bool tied = model.architecture.tie_word_embeddings;
  LayerParameters layer(model, shard, std::max(last_layer(list), 0), list);
  MatrixIds ids;
  ids.weight = layer.add_vocabulary(tied ? names.embedding : names.head, tied);
  if (model.architecture.head_bias) ids.bias = layer.add_vocabulary_bias(names.head_bias);
  return ids;
}

std::vector<Parameter> stage_parameters(const ModelSpec& model, const StageRange& range,
                                        const ModelShard& shard) {
  std::vector<Parameter> list;
  if (range.embedding) add_embedding(model, list, shard);
  for (int64_t block = range.first_block; block < range.last_block; ++block)
    add_block(model, block, list, shard);
  if (range.head) {
    add_final_norm(model, list, shard);
    add_head(model, list, shard);
  }
  return list;
}

int first_trained_stage(const ModelSpec& model, const std::vector<StageRange>& ranges) {
  const auto is_trained = [&](const StageRange& range) {
    const std::vector<Parameter> list = stage_parameters(model, range, {});
    return std::any_of(list.begin(), list.end(),
                       [](const Parameter& parameter) { return parameter.trainable; });
  };
  return static_cast<int>(std::find_if(ranges.begin(), ranges.end(), is_trained) - ranges.begin());
}

std::vector<Parameter> model_parameters(const ModelSpec& model) {
  std::vector<Parameter> list;
  add_embedding(model, list);
  for (int64_t block = 0; block < model.architecture.num_hidden_layers; ++block)
    add_block(model, block, list);
  add_final_norm(model, list);
  add_head(model, list);
  std::erase_if(list, [](const Parameter& parameter) { return parameter.tied_copy; });  // a bias stays
  return list;
}

int64_t trained_parameter_count(const ModelSpec& model) {
  int64_t count = 0;
  for (const Parameter& parameter : model_parameters(model))
    if (parameter.trainable) count += parameter.shape.numel();
  return count;
}

int64_t parameter_count(const ModelSpec& model) {
  int64_t count = 0;
  for (const Parameter& parameter : model_parameters(model)) count += parameter.shape.numel();
  return count;
}

}  // namespace collie
