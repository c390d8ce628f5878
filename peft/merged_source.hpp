// A model with its adapters merged into it, W + scale B A in place of each W that has some; or taken out of
// it, W - scale B A.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "io/checkpoint.hpp"
#include "models/model_spec.hpp"

namespace collie {

class MergedSource final : public CheckpointSource {
 public:
  // `weights` has the evaluated weights of the model and of its adapters. The slices are those of the model
  // alone, whole tensors. The merged values are computed in float32, as peft's merge_and_unload() does, when
  // they are read. One tensor, and the adapters of one matrix, are in memory at a time for each thread that
  // reads. `take_out`: the adapters are low-rank ones alone.
  MergedSource(Checkpoint weights, const ModelSpec& model, bool take_out = false);

  std::string place() const override { return weights_.path(); }
  int64_t step() const override { return weights_.step(); }
  const nlohmann::json& metadata() const override { return metadata_; }
  const std::vector<Slice>& slices() const override { return slices_; }
  void read(size_t index, int64_t begin, std::span<float> values) const override;

 private:
  std::vector<float> merged(size_t index) const;
  void merge_matrix(const std::string& module, std::vector<float>& values, int64_t out, int64_t in,
                    bool transposed) const;
  void merge_bias(const std::string& module, std::vector<float>& values) const;

  Checkpoint weights_;
  ModelSpec model_;
  nlohmann::json metadata_ = nlohmann::json::object();
  std::vector<Slice> slices_;
  std::vector<bool> transposed_;  // [slices]: stored [in, out]
  bool take_out_;
  // The tensor that a thread read last: its parts are asked for one after another.
  struct Last {
    std::optional<size_t> index;
    std::vector<float> values;
  };
  mutable std::mutex mutex_;
  mutable std::map<std::thread::id, Last> last_;
};

}  // namespace collie
