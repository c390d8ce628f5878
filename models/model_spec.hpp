// What a model is, but for the values of its weights: the one source of its parameters. The plan decides it
// once, and it travels to nodes and ranks.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/quantised_matrix.hpp"
#include "models/adapters.hpp"
#include "models/model_config.hpp"
#include "models/soft_prompt.hpp"

namespace collie {

struct ModelSpec {
  ModelConfig architecture;
  std::vector<std::string> frozen;   // patterns (base/name_pattern.hpp) of tensors that are not trained
  bool dropout = false;              // with the architecture's rates
  std::vector<std::string> trained;  // patterns of the only tensors that are trained; none: all are
  Adapters adapters;
  VectorAdapters vectors;
  std::optional<BottleneckAdapter> bottleneck;  // of every block
  // Of the matrices of blocks, but for those whose names, without ".weight", end as a pattern says.
  Quantisation quantisation;
  std::vector<std::string> not_quantised;
  SoftPrompt prompt = {};

  ModelSpec() = default;
  // A plain model is its architecture.
  ModelSpec(ModelConfig config, std::vector<std::string> patterns = {}, bool drops = false)
      : architecture(std::move(config)), frozen(std::move(patterns)), dropout(drops) {}

  // Whether the tensor of that Hugging Face name is trained.
  bool trains(const std::string& tensor) const;
  // Whether it has adapters of any kind, so that a folder of the whole model lacks a part of it.
  bool has_adapters() const { return !adapters.empty() || !vectors.empty() || bottleneck || prompt.exists(); }
  // Whether the matrix of that name, which is without ".weight", has one.
  bool has_adapter(const std::string& matrix) const {
    return adapters.count(matrix) > 0 || vectors.count(matrix) > 0;
  }
  // Whether adapters begin with values that the matrices are then without (peft/start_source.hpp).
  bool changes_base() const;
  // Whether anything is dropped in training.
  bool drops() const;
  // How the matrix of a block of that name, without ".weight", is held.
  Quantisation quantisation_of(const std::string& matrix) const;
  // The positions that are left for the tokens of a document, when its virtual tokens have theirs.
  int64_t positions() const { return architecture.max_position_embeddings - prompt.tokens; }
  // The same without adapters and quantisation: what a folder of the whole model holds.
  ModelSpec base() const;
  // The same without adapters.
  ModelSpec without_adapters() const;
};

// Throws UserError, which begins with `place`, if one of `patterns`, which are those of `frozen` or of
// `trained`, matches no tensor of the model, or if nothing is left to train.
void check_trained(const ModelSpec& model, const std::vector<std::string>& patterns,
                   const std::string& place);

}  // namespace collie
