// The weights of a Hugging Face folder, read as those of a checkpoint are.
#pragma once

#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/checkpoint_source.hpp"
#include "io/weight_folder.hpp"
#include "models/model_spec.hpp"
#include "models/weight_reader.hpp"

namespace collie {

class ModelFolderSource final : public CheckpointSource {
 public:
  // `folder` must have passed check_weights() for `model`. It has the state "weight" of every tensor of the
  // model, whole, after step 0.
  ModelFolderSource(const std::string& folder, const ModelSpec& model);

  std::string place() const override { return path_; }
  int64_t step() const override { return 0; }
  const nlohmann::json& metadata() const override { return metadata_; }
  const std::vector<Slice>& slices() const override { return slices_; }
  void read(size_t index, int64_t begin, std::span<float> values) const override;

 private:
  std::string path_;
  WeightFolder folder_;
  nlohmann::json metadata_ = nlohmann::json::object();
  std::vector<NamedTensor> tensors_;
  std::vector<Slice> slices_;  // of the same
  mutable std::mutex mutex_;
  mutable std::optional<WeightReader> reader_;  // of the tensor that was read last
  mutable size_t last_index_ = 0;
};

}  // namespace collie
