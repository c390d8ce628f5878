// A Hugging Face config.json, as far as the engine has its features; what it lacks is refused by name.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace collie {

struct ModelConfig {
  std::string model_type = "llama";
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;  // hidden_size / num_attention_heads unless given
  int64_t vocab_size = 0;
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  bool tie_word_embeddings = false;
  bool attention_bias = false;
  bool mlp_bias = false;
  double initializer_range = 0.02;
};

// The keys of a model, and where they stand.
struct ModelKeys {
  struct Origin {
    std::string place;           // what a message about the key begins with: "FILE:LINE: hidden_size"
    bool of_the_engine = false;  // given in the engine's own configuration, where nothing is meant for others
  };

  nlohmann::json object;
  std::string where;                      // the file, or "model.config": the place of all other keys
  std::map<std::string, Origin> origins;  // may lack keys
};

// folder/config.json. UserError names the file.
ModelKeys read_model_keys(const std::string& folder);

// `keys.where` names the file (or "model.config") in messages. Throws UserError that names the key, what was
// found and what would be right: an unknown model_type, a missing or ill-typed key, sizes that do not divide,
// a feature the engine lacks (rope scaling, other activations, sliding windows, quantised weights, ...). Keys
// that do not change the maths (architectures, torch_dtype, transformers_version, token ids, use_cache, ...)
// are ignored; so is what the engine does not know at all where it is switched off (null, false, 0, ""), but
// not in the engine's own configuration, where it is a mistake. What is unknown is named with the nearest key
// that is known. Sizes that no model has (more than 2^43 parameters, say) are refused before anything is
// allocated or counted.
ModelConfig parse_model_config(const ModelKeys& keys);
ModelConfig parse_model_config(const nlohmann::json& json, const std::string& where);
ModelConfig load_model_config(const std::string& folder);  // folder/config.json

// The config.json that transformers reads back as the same model.
nlohmann::json to_hugging_face(const ModelConfig& config);

}  // namespace collie
