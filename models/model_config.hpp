// What a decoder computes: its sizes and which parts its blocks are made of. A family (models/families/) maps
// Hugging Face's config.json to this and back.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/operations.hpp"
#include "models/config_reader.hpp"
#include "models/rope_scaling.hpp"

namespace collie {

enum class NormKind : uint8_t { rms, layer };

struct NormSettings {
  NormKind kind = NormKind::rms;
  double eps = 1e-6;
  double weight_offset = 0;  // the factor is weight_offset + weight (RMSNorm only; Gemma's is 1 + weight)
  bool bias = false;         // of LayerNorm
};

// How a token knows where it stands.
enum class Positions : uint8_t {
  rotary,   // queries and keys are rotated
  learned,  // a second embedding is added to the first
};

// The tokens that divide a document of a model which fills in a blank (GLM: Du et al., arXiv 2103.10360).
// What stands before `start` is the context, which has the blank; from `start` on there is what fills it.
struct BlankTokens {
  int32_t start = -1;  // -1: the model knows no blanks
  int32_t gmask = -1;  // the blank: the context's first gmask,
  int32_t mask = -1;   // or else its first mask

  bool exist() const { return start >= 0; }
};

// The rates with which a config.json says that the model was trained.
struct DropoutRates {
  double embedding = 0, attention = 0, residual = 0;

  bool any() const { return embedding > 0 || attention > 0 || residual > 0; }
};

// What differs between the blocks of a model.
struct BlockSettings {
  int64_t window = 0;      // the most keys a query sees, its own included; 0: no limit
  double score_scale = 0;  // of queries times keys; 0: 1 / sqrt(head_dim)
  double soft_cap = 0;     // c: a score s becomes c · tanh(s / c); 0: none
  double rope_theta = 0;   // the base of the rotary wavelengths; 0: the model's
};

struct ModelConfig {
  std::string model_type = "llama";  // the family
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;  // hidden_size / num_attention_heads unless given
  int64_t vocab_size = 0;
  // The rows that the embedding and the head have in the folder of the weights, if others than vocab_size
  // (model.resize_vocabulary); 0: as many. Of the run, not of the model: no config.json has it.
  int64_t stored_vocab_size = 0;
  int64_t max_position_embeddings = 0;

  NormSettings norm;
  Activation activation = Activation::silu;
  bool parallel_branches = false;  // attention and MLP read the same stream, or one after the other
  bool one_norm = false;           // both through the same norm (of families that also have blocks with two)
  bool gated_mlp = true;           // down(activation(gate(x)) · up(x)), or down(activation(up(x)))
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  bool query_key_norm = false;  // RMSNorm of each query and key head, before the rotation
  Positions positions = Positions::rotary;
  double rope_theta = 10000.0;
  int64_t rotary_dim = 0;  // the channels of a head that are rotated, its first; 0: all
  RotaryPairs rotary_pairs = RotaryPairs::halves;
  RopeScaling rope_scaling = {};
  BlankTokens blanks = {};        // if they exist, a head's halves have a position each (models/blanks.hpp)
  bool half_frequencies = false;  // frequencies of rotary positions are rounded to float16
  // α: a branch adds to α times what its norm gives, and not to what the norm reads; 0: to the latter.
  double residual_scale = 0;
  std::vector<BlockSettings> blocks = {};  // [num_hidden_layers], or empty: all have the defaults
  double embedding_scale = 1;              // multiplies the token embedding
  double logit_soft_cap = 0;               // c: a logit z becomes c · tanh(z / c); 0: none
  bool head_bias = false;
  bool tie_word_embeddings = false;
  DropoutRates dropout = {};

  // Initial weights are normal with this deviation; that of matrices which write into the residual stream is
  // multiplied by the second number.
  double initializer_range = 0.02;
  double residual_initializer_factor = 1.0;

  BlockSettings block(int64_t index) const {
    return blocks.empty() ? BlockSettings{} : blocks.at(static_cast<size_t>(index));
  }
};

// `keys.where` names the file (or "model.config") in messages. Throws UserError that names the key, what was
// found and what would be right: an unknown model_type, a missing or ill-typed key, sizes that do not divide,
// a feature the engine lacks (other activations, mixtures of experts, quantised weights, ...). Keys that do
// not change the maths (architectures, torch_dtype, transformers_version, token ids, use_cache, ...) are
// ignored; so is what the engine does not know at all where it is switched off (null, false, 0, ""), but not
// in the engine's own configuration, where it is a mistake. What is unknown is named with the nearest key
// that is known. Sizes that no model has (more than 2^43 parameters, say) are refused before anything is
// allocated or counted.
ModelConfig parse_model_config(const ModelKeys& keys);
ModelConfig parse_model_config(const nlohmann::json& json, const std::string& where);
ModelConfig load_model_config(const std::string& folder);  // folder/config.json

// The config.json that transformers reads back as the same model.
nlohmann::json to_hugging_face(const ModelConfig& config);

}  // namespace collie
