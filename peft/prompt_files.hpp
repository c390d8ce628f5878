// What a folder of Hugging Face's peft has of virtual tokens: one tensor, prompt_embeddings, of the rows or,
// for a prefix, of the keys and values of all blocks: [v, blocks · 2 · kv_heads · head_dim], block after
// block, keys before values. The engine has a tensor of each block, with values below keys
// (models/soft_prompt.hpp).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/checkpoint.hpp"
#include "models/model_spec.hpp"
#include "models/parameter.hpp"

namespace collie {

// The tensor in the folder of a model with virtual tokens.
NamedTensor prompt_in_file(const ModelSpec& model);
// A parameter of the model's virtual tokens, whose pieces are those of the folder's tensor.
Parameter parameter_in_prompt_file(const ModelSpec& model, const Parameter& parameter);

// The folder's tensor, put together from the evaluated weights of a model with virtual tokens, or computed
// from those of their encoder, which the folder has not.
class PromptSource final : public CheckpointSource {
 public:
  PromptSource(const Checkpoint& weights, const ModelSpec& model);

  std::string place() const override { return place_; }
  int64_t step() const override { return step_; }
  const nlohmann::json& metadata() const override { return metadata_; }
  const std::vector<Slice>& slices() const override { return slices_; }
  void read(size_t index, int64_t begin, std::span<float> values) const override;

 private:
  std::string place_;
  int64_t step_;
  nlohmann::json metadata_ = nlohmann::json::object();
  std::vector<Slice> slices_;
  std::vector<float> values_;
};

}  // namespace collie
