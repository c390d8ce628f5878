// A family of models: how its config.json says what ModelConfig says, and what its tensors are called. Each
// is a file of this folder and a line of family.cpp; what its blocks compute is made of the parts that
// ModelConfig chooses.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/layer_parameters.hpp"
#include "models/model_config.hpp"

namespace collie {

// What the family's config.json calls the sizes.
struct SizeKeys {
  const char* hidden = "hidden_size";
  const char* intermediate = "intermediate_size";
  const char* blocks = "num_hidden_layers";
  const char* heads = "num_attention_heads";
  const char* key_value_heads = "num_key_value_heads";
  const char* head_dim = "head_dim";
  const char* vocabulary = "vocab_size";
  const char* positions = "max_position_embeddings";
  int64_t head_dim_otherwise = 0;  // 0: hidden / heads
  // Where the key is missing; where it is null, and if this is 0, as many as heads.
  int64_t key_value_heads_otherwise = 0;
};

// Hugging Face's names of the tensors that are in no block.
struct TensorNames {
  const char* embedding = "model.embed_tokens.weight";
  const char* positions = nullptr;  // of learned positions
  const char* final_norm = "model.norm";
  const char* head = "lm_head.weight";
  const char* head_bias = "lm_head.bias";  // of a model that has one
};

struct Family {
  const char* model_type;    // its name here, and in files if stored_type does not say otherwise
  const char* architecture;  // "LlamaForCausalLM"
  SizeKeys keys = {};
  TensorNames names = {};
  // Patterns (base/name_pattern.hpp) of tensors that files may have and the model has no use for.
  std::vector<const char*> ignored = {};

  // The model_type in files, if another family has that, too; is_meant() tells them apart by their keys.
  const char* stored_type = nullptr;
  bool (*is_meant)(ConfigReader& reader) = nullptr;

  // Refuses kinds of models that the family's name also stands for, before any size is read; or none.
  void (*check)(ConfigReader& reader) = nullptr;
  // Reads everything but the sizes. config has model_type and those sizes that are not optional; reads the
  // optional ones, too. Throws UserError (ConfigReader).
  void (*read)(ConfigReader& reader, ModelConfig& config);
  // Writes what read() reads, and the sizes' optional keys.
  void (*write)(const ModelConfig& config, nlohmann::json& json);
  // Adds block `block`'s parameters in the order of transformers' named_parameters().
  BlockIds (*add_block)(LayerParameters& layer, int64_t block);

  const char* type_in_files() const { return stored_type != nullptr ? stored_type : model_type; }
};

// The family of a file with this model_type and the reader's keys; nullptr if there is none.
const Family* find_family(const std::string& model_type, ConfigReader& reader);
// Asserts that there is one.
const Family& family_of(const ModelConfig& config);
// "gpt2, llama, ..."
std::string known_families();
// What a message about an unknown model_type says would be right: those that are known, the nearest one, and
// what the engine lacks for one that is known to need it.
std::string right_family(const std::string& model_type);

// One function a file of this folder, but for families that share one.
const Family& chatglm_family();
const Family& chatglm_6b_family();
const Family& codegen_family();
const Family& falcon_family();
const Family& gemma_family();
const Family& gemma2_family();
const Family& gemma3_text_family();
const Family& glm_family();
const Family& glm4_family();
const Family& gpt2_family();
const Family& gpt_neox_family();
const Family& gptj_family();
const Family& internlm_family();
const Family& internlm2_family();
const Family& llama_family();
const Family& mistral_family();
const Family& moss_family();
const Family& phi3_family();
const Family& qwen2_family();
const Family& qwen3_family();
const Family& starcoder2_family();

}  // namespace collie
