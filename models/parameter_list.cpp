#include "models/parameter_list.hpp"

#include <algorithm>

#include "models/pieces.hpp"
#include "models/sharding.hpp"

namespace collie {
namespace {

const char* const embedding_name = "model.embed_tokens.weight";

// Appends the parameters of one layer of one rank's stage.
class LayerParameters {
 public:
  LayerParameters(const ModelSpec& model, const ModelShard& shard, int layer, std::vector<Parameter>& list)
      : model_(model), config_(model.architecture), shard_(shard), layer_(layer), list_(list) {}

  // [vocabulary, hidden], cut by vocabulary.
  ParameterId add_vocabulary(const std::string& name, bool tied_copy) {
    Parameter matrix = normal(name, {config_.vocab_size, config_.hidden_size});
    matrix.tied_copy = tied_copy;
    cut_axis(matrix, 0, shard_);
    return add(std::move(matrix));
  }

  ParameterId add_norm(const std::string& name) {
    Parameter norm = constant(name, config_.hidden_size, Initialisation::ones);
    replicate(norm, shard_);
    return add(std::move(norm));
  }

  // [out, hidden], cut by what it gives: heads or width.
  MatrixIds add_column_parallel(const std::string& name, int64_t out, bool bias) {
    return add_matrix(name, {out, config_.hidden_size}, bias,
                      [this](Parameter& parameter) { cut_axis(parameter, 0, shard_); });
  }

  MatrixIds add_key_value(const std::string& name, bool bias) {
    return add_matrix(name, {config_.num_key_value_heads * config_.head_dim, config_.hidden_size}, bias,
                      [this](Parameter& parameter) { cut_key_value_heads(parameter, config_, shard_); });
  }

  // [hidden, in], cut by what it reads; its bias is added once, to the sum of the ranks' products.
  MatrixIds add_row_parallel(const std::string& name, int64_t in, bool bias) {
    return add_matrix(name, {config_.hidden_size, in}, bias, [this](Parameter& parameter) {
      parameter.shape.rank() == 2 ? cut_axis(parameter, 1, shard_) : replicate(parameter, shard_);
    });
  }

 private:
  Parameter normal(const std::string& name, const Shape& shape) const {
    Parameter parameter = whole_tensor(name, shape);
    parameter.deviation = config_.initializer_range;
    return parameter;
  }

  static Parameter constant(const std::string& name, int64_t size, Initialisation initialisation) {
    Parameter parameter = whole_tensor(name, {size});
    parameter.initialisation = initialisation;
    return parameter;
  }

  template <class Cut>
  MatrixIds add_matrix(const std::string& name, const Shape& shape, bool bias, Cut&& cut) {
    MatrixIds ids;
    Parameter weight = normal(name + ".weight", shape);
    cut(weight);
    ids.weight = add(std::move(weight));
    if (!bias) return ids;
    Parameter shift = constant(name + ".bias", shape[0], Initialisation::zeros);
    cut(shift);
    ids.bias = add(std::move(shift));
    return ids;
  }

  ParameterId add(Parameter parameter) {
    parameter.layer = layer_;
    parameter.trainable = model_.trains(parameter.name);
    list_.push_back(std::move(parameter));
    return static_cast<ParameterId>(list_.size()) - 1;
  }

  const ModelSpec& model_;
  const ModelConfig& config_;
  const ModelShard& shard_;
  int layer_;
  std::vector<Parameter>& list_;
};

int last_layer(const std::vector<Parameter>& list) {
  return list.empty() ? -1 : list.back().layer;
}

}  // namespace

ParameterId add_embedding(const ModelSpec& model, std::vector<Parameter>& list, const ModelShard& shard) {
  return LayerParameters(model, shard, last_layer(list) + 1, list).add_vocabulary(embedding_name, false);
}

BlockIds add_block(const ModelSpec& model, int64_t block, std::vector<Parameter>& list,
                   const ModelShard& shard) {
  LayerParameters layer(model, shard, last_layer(list) + 1, list);
  const ModelConfig& config = model.architecture;
  const std::string prefix = fmt::format("model.layers.{}.", block);
  const int64_t q_width = config.num_attention_heads * config.head_dim, width = config.intermediate_size;
  const bool attention_bias = config.attention_bias, mlp_bias = config.mlp_bias;
  BlockIds ids;
  ids.q = layer.add_column_parallel(prefix + "self_attn.q_proj", q_width, attention_bias);
  ids.k = layer.add_key_value(prefix + "self_attn.k_proj", attention_bias);
  ids.v = layer.add_key_value(prefix + "self_attn.v_proj", attention_bias);
  ids.o = layer.add_row_parallel(prefix + "self_attn.o_proj", q_width, attention_bias);
  ids.gate = layer.add_column_parallel(prefix + "mlp.gate_proj", width, mlp_bias);
  ids.up = layer.add_column_parallel(prefix + "mlp.up_proj", width, mlp_bias);
  ids.down = layer.add_row_parallel(prefix + "mlp.down_proj", width, mlp_bias);
  ids.attention_norm = layer.add_norm(prefix + "input_layernorm.weight");
  ids.mlp_norm = layer.add_norm(prefix + "post_attention_layernorm.weight");
  return ids;
}

ParameterId add_final_norm(const ModelSpec& model, std::vector<Parameter>& list, const ModelShard& shard) {
  return LayerParameters(model, shard, last_layer(list) + 1, list).add_norm("model.norm.weight");
}

ParameterId add_head(const ModelSpec& model, std::vector<Parameter>& list, const ModelShard& shard) {
  const bool tied = model.architecture.tie_word_embeddings;
  const int layer = std::max(last_layer(list), 0);
  return LayerParameters(model, shard, layer, list)
      .add_vocabulary(tied ? embedding_name : "lm_head.weight", tied);
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

std::vector<Parameter> model_parameters(const ModelSpec& model) {
  std::vector<Parameter> list;
  add_embedding(model, list);
  for (int64_t block = 0; block < model.architecture.num_hidden_layers; ++block)
    add_block(model, block, list);
  add_final_norm(model, list);
  if (!model.architecture.tie_word_embeddings) add_head(model, list);
  return list;
}

int64_t parameter_count(const ModelSpec& model) {
  int64_t count = 0;
  for (const Parameter& parameter : model_parameters(model)) count += parameter.shape.numel();
  return count;
}

}  // namespace collie
