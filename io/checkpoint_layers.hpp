// A checkpoint laid over weights: what the upper one lacks is the lower one's. So the adapters of a model,
// which have checkpoints without it, are read together with the model.
#pragma once

#include <memory>
#include <vector>

#include "io/checkpoint_source.hpp"

namespace collie {

class LayeredSource final : public CheckpointSource {
 public:
  // Place, step and metadata are those of `upper`.
  LayeredSource(std::shared_ptr<const CheckpointSource> upper, std::shared_ptr<const CheckpointSource> lower);

  std::string place() const override { return upper_->place(); }
  int64_t step() const override { return upper_->step(); }
  const nlohmann::json& metadata() const override { return upper_->metadata(); }
  const std::vector<Slice>& slices() const override { return slices_; }
  void read(size_t index, int64_t begin, std::span<float> values) const override;

 private:
  std::shared_ptr<const CheckpointSource> upper_, lower_;
  std::vector<Slice> slices_;          // the upper one's, then those of the lower one that are used
  std::vector<size_t> lower_indices_;  // of the latter
};

}  // namespace collie
