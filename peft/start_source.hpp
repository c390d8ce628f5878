// What adapters begin with where that comes from the matrices that they are for: the lengths of rows (DoRA),
// the largest singular values (PiSSA: Meng et al., arXiv 2404.02948, section 3) or QR factors (OLoRA:
// Büyükakyüz, arXiv 2406.01775, algorithm 1). As Hugging Face's peft computes it.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "io/checkpoint.hpp"
#include "io/config.hpp"
#include "models/model_spec.hpp"
#include "models/parameter.hpp"

namespace collie {

class StartSource final : public CheckpointSource {
 public:
  // The evaluated weights of the model without adapters, and the seed of what is random. The slices are the
  // tensors of an adapter's folder (adapter_tensors()); what is trained beside adapters is the base's.
  StartSource(Checkpoint base, const ModelSpec& model, uint64_t seed);

  std::string place() const override { return base_.path(); }
  int64_t step() const override { return 0; }
  const nlohmann::json& metadata() const override { return metadata_; }
  const std::vector<Slice>& slices() const override { return slices_; }
  // The tensors of one matrix at a time are in memory.
  void read(size_t index, int64_t begin, std::span<float> values) const override;

 private:
  using Tensors = std::map<std::string, std::vector<float>>;
  Tensors of_matrix(const std::string& matrix, const LowRankAdapter& adapter) const;
  std::vector<float> initial(const std::string& tensor) const;
  const std::vector<float>& whole(const std::string& tensor) const;

  Checkpoint base_;
  ModelSpec model_;
  uint64_t seed_;
  nlohmann::json metadata_ = nlohmann::json::object();
  std::map<std::string, Parameter> parameters_;           // by name, whole
  std::map<std::string, NamedTensor> matrices_;           // of the model, by module
  std::map<std::string, std::string> module_of_adapter_;  // by tensor
  std::vector<Slice> slices_;
  mutable std::mutex mutex_;
  mutable std::string last_;  // whose tensors these are: a module, or a tensor of the base
  mutable Tensors tensors_;
};

// What a run trained of an adapter that took its start out of the matrices, as one of the original ones, of
// twice the rank: B A - B0 A0 = [B, -B0] [A; A0]. `start` has A0 and B0 (StartSource). The slices are those
// of an adapter's folder.
class EquivalentSource final : public CheckpointSource {
 public:
  EquivalentSource(Checkpoint trained, Checkpoint start, const ModelSpec& model);

  std::string place() const override { return trained_.path(); }
  int64_t step() const override { return trained_.step(); }
  const nlohmann::json& metadata() const override { return metadata_; }
  const std::vector<Slice>& slices() const override { return slices_; }
  void read(size_t index, int64_t begin, std::span<float> values) const override;

 private:
  Checkpoint trained_, start_;
  nlohmann::json metadata_ = nlohmann::json::object();
  std::vector<NamedTensor> tensors_;  // [slices], of the adapter that was trained
  std::vector<Slice> slices_;
};

// The configuration of that adapter.
PeftSection equivalent_adapter(PeftSection peft);

}  // namespace collie
