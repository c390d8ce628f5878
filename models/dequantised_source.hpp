// The weights of a Hugging Face folder as a run with quantised matrices has them: in their place there are
// the numbers that their codes stand for, in float32.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "io/checkpoint_source.hpp"
#include "models/model_folder_source.hpp"
#include "models/quantised_weights.hpp"

namespace collie {

class DequantisedSource final : public CheckpointSource {
 public:
  // `folder` must have passed check_weights() for `model`, of which adapters do not matter. `dtype`:
  // model.dtype. The codes of one matrix are in memory at a time.
  DequantisedSource(const std::string& folder, const ModelSpec& model, DType dtype);

  std::string place() const override { return numbers_.place(); }
  int64_t step() const override { return 0; }
  const nlohmann::json& metadata() const override { return numbers_.metadata(); }
  const std::vector<Slice>& slices() const override { return numbers_.slices(); }
  void read(size_t index, int64_t begin, std::span<float> values) const override;

 private:
  // A slice's matrix, if it is quantised.
  struct Matrix {
    Quantisation quantisation;
    bool transposed = false;
  };
  void read_codes(size_t index) const;

  ModelFolderSource numbers_;
  WeightFolder folder_;
  DType dtype_;
  std::vector<Matrix> matrices_;  // [slices]
  mutable std::mutex mutex_;
  mutable WholeQuantised last_;  // of the matrix that was read last
  mutable size_t last_index_ = 0;
};

// The weights of `folder`, which must have passed check_weights(), as `model` has them: numbers, or those
// that codes stand for.
std::shared_ptr<const CheckpointSource> weights_of_folder(const std::string& folder, const ModelSpec& model,
                                                          DType dtype);

}  // namespace collie
