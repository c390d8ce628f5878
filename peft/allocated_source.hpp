// The adapter that a run with AdaLoRA ends with: the triplets that are kept, without the others.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/checkpoint.hpp"
#include "models/model_spec.hpp"

namespace collie {

class AllocatedSource final : public CheckpointSource {
 public:
  // `trained` is a checkpoint of a run whose triplets are allocated, which has their masks. The slices are
  // the tensors of an adapter's folder, of which A, B and E have kept rows and columns alone.
  AllocatedSource(Checkpoint trained, const ModelSpec& model);

  // adapter_config.json's: {MODULE.lora_E: [which are kept]}; null where none has been lost yet.
  nlohmann::ordered_json rank_pattern() const;

  std::string place() const override { return trained_.path(); }
  int64_t step() const override { return trained_.step(); }
  const nlohmann::json& metadata() const override { return metadata_; }
  const std::vector<Slice>& slices() const override { return slices_; }
  void read(size_t index, int64_t begin, std::span<float> values) const override;

 private:
  struct Trained {
    std::string name, matrix;  // of triplets: the matrix that they are for; else ""
    Shape shape;               // before anything was lost
    bool by_columns = false;   // B
  };

  Checkpoint trained_;
  nlohmann::json metadata_ = nlohmann::json::object();
  std::map<std::string, std::vector<bool>> kept_;  // by matrix
  std::vector<Trained> tensors_;                   // [slices]
  std::vector<Slice> slices_;
};

}  // namespace collie
