#include "models/families/gemma_blocks.hpp"

#include <cmath>

#include "models/families/activation_keys.hpp"
#include "models/families/llama_blocks.hpp"

namespace collie {
namespace {

using nlohmann::json;

constexpr int64_t default_scale = 256;  // query_pre_attn_scalar

// [blocks] whether a block has the window: as layer_types says, or by the pattern.
std::vector<bool> read_layer_types(ConfigReader& reader, int64_t windows_before_full, int64_t blocks) {
  std::vector<bool> windowed;
  const json& kinds = reader.value("layer_types");
  if (kinds.is_null()) {
    for (int64_t block = 0; block < blocks; ++block)
      windowed.push_back((block + 1) % (windows_before_full + 1) != 0);
    return windowed;
  }
  if (!kinds.is_array() || static_cast<int64_t>(kinds.size()) != blocks)
    reader.refuse("layer_types", kinds, fmt::format("it must list {} layers", blocks));
  for (const json& kind : kinds) {
    if (kind != "sliding_attention" && kind != "full_attention")
      reader.refuse("layer_types", kind, "known: full_attention, sliding_attention");
    windowed.push_back(kind == "sliding_attention");
  }
  return windowed;
}

int64_t score_scalar(const ModelConfig& config) {
  const double scale = config.block(0).score_scale;
  return scale == 0 ? config.head_dim : std::llround(1 / (scale * scale));
}

}  // namespace

double read_soft_cap(ConfigReader& reader, const char* key, double otherwise) {
  if (reader.object().contains(key) && !reader.has(key)) return 0;
  return reader.number(key, otherwise, 0, true);
}

void read_gemma_blocks(ConfigReader& reader, const GemmaDefaults& defaults, ModelConfig& config) {
  config.intermediate_size = reader.size("intermediate_size", 4 * model_limits::width);
  config.norm = {NormKind::rms, reader.number("rms_norm_eps", 1e-6, 0.0, false), 1};
  config.activation = reader.one_of("hidden_activation", activation_names(), Activation::gelu_tanh);
  reader.ignore("hidden_act");  // older files have both, and only the other is read
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
  config.tie_word_embeddings = reader.flag("tie_word_embeddings", true);
  config.qkv_bias = config.output_bias = reader.flag("attention_bias");
  config.dropout.attention = reader.rate("attention_dropout", 0.0);
  config.logit_soft_cap = read_soft_cap(reader, "final_logit_softcapping", defaults.logit_soft_cap);
  if (!reader.has("num_key_value_heads")) config.num_key_value_heads = 4;  // as transformers, as are:
  if (!reader.has("head_dim")) config.head_dim = 256;
  const int64_t scalar = reader.size("query_pre_attn_scalar", model_limits::width, default_scale),
                window = reader.size("sliding_window", model_limits::tokens, 4096);
  for (const bool windowed : read_layer_types(reader, defaults.windows_before_full, config.num_hidden_layers))
    config.blocks.push_back(
        {.window = windowed ? window : 0, .score_scale = 1 / std::sqrt(static_cast<double>(scalar))});
}

void write_gemma_blocks(const ModelConfig& config, json& object) {
  object["hidden_activation"] = name_of(config.activation);
  object["rms_norm_eps"] = config.norm.eps;
  object["attention_bias"] = config.qkv_bias;
  object["attention_dropout"] = config.dropout.attention;
  object["final_logit_softcapping"] = config.logit_soft_cap == 0 ? json() : json(config.logit_soft_cap);
  object["query_pre_attn_scalar"] = score_scalar(config);
  object["layer_types"] = json::array();
  for (int64_t block = 0; block < config.num_hidden_layers; ++block) {
    const int64_t window = config.block(block).window;
    object["layer_types"].push_back(window > 0 ? "sliding_attention" : "full_attention");
    if (window > 0) object["sliding_window"] = window;
  }
}

BlockIds add_gemma_block(LayerParameters& layer, int64_t block) {
  const std::string prefix = fmt::format("model.layers.{}.", block);
  BlockIds ids = add_llama_block(layer, block);
  ids.attention_output_norm = ids.mlp_norm;  // what Llama's blocks call post_attention_layernorm
  ids.mlp_norm = layer.add_norm(prefix + "pre_feedforward_layernorm");
  ids.mlp_output_norm = layer.add_norm(prefix + "post_feedforward_layernorm");
  return ids;
}

}  // namespace collie
