// What a model is, but for the values of its weights: the one source of its parameters. The plan decides it
// once, and it travels to nodes and ranks. Adapters and quantised weights will be parts of it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "models/model_config.hpp"

namespace collie {

struct ModelSpec {
  ModelConfig architecture;
  std::vector<std::string> frozen;  // patterns (base/name_pattern.hpp) of tensors that are not trained
  bool dropout = false;             // with the architecture's rates

  ModelSpec() = default;
  // A plain model is its architecture.
  ModelSpec(ModelConfig config, std::vector<std::string> patterns = {}, bool drops = false)
      : architecture(std::move(config)), frozen(std::move(patterns)), dropout(drops) {}

  // Whether the tensor of that Hugging Face name is trained.
  bool trains(const std::string& tensor) const;
};

// Throws UserError, which begins with `place`, if a pattern of `frozen` matches no tensor of the model, or if
// nothing is left to train.
void check_frozen(const ModelSpec& model, const std::string& place);

}  // namespace collie
