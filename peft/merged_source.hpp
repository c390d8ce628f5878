// A model with its adapters merged into it: W + scale B A in place of each W that has some.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "io/checkpoint.hpp"
#include "models/model_spec.hpp"

namespace collie {

class MergedSource final : public CheckpointSource {
 public:
  // `weights` has the evaluated weights of the model and of its adapters. The slices are those of the model
  // alone, whole tensors. The merged values are computed in float32, as peft's merge_and_unload() does, when
  // they are read; the adapters of one matrix are in memory at a time.
  MergedSource(Checkpoint weights, const ModelSpec& model);

  std::string place() const override { return weights_.path(); }
  int64_t step() const override { return weights_.step(); }
  const nlohmann::json& metadata() const override { return metadata_; }
  const std::vector<Slice>& slices() const override { return slices_; }
  void read(size_t index, int64_t begin, std::span<float> values) const override;

 private:
  const std::vector<float>& whole(size_t index) const;

  Checkpoint weights_;
  ModelSpec model_;
  nlohmann::json metadata_ = nlohmann::json::object();
  std::vector<Slice> slices_;
  std::vector<bool> transposed_;  // [slices]: stored [in, out]
  mutable std::mutex mutex_;
  mutable size_t last_index_ = 0;
  mutable std::vector<float> last_;  // the whole tensor of last_index_, or nothing
};

}  // namespace collie
