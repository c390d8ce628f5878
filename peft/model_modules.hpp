// The modules of a model, which patterns of peft's keys choose from.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/model_spec.hpp"

namespace collie {

struct ModelModule {
  std::string name;  // of its tensors without ".weight"
  int64_t out = 0, in = 0;
  bool is_matrix = false;  // with an input and an output: neither a vector nor an embedding or a head
  bool is_table = false;
};

// In the order of the model's parameters.
std::vector<ModelModule> modules_of(const ModelSpec& model);

// "q_proj" of "model.layers.0.self_attn.q_proj"
std::string last_part(const std::string& name);
// The number of the block: the first part of the name that is one.
std::optional<int64_t> block_of(const std::string& module);
// The last parts of the names of those modules, each once: "q_proj, k_proj".
std::string names_in_words(const std::vector<ModelModule>& modules,
                           const std::function<bool(const ModelModule&)>& is);

}  // namespace collie
