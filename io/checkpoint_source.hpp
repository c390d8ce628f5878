// Where checkpoints are read from and written to. Files are one such place (io/checkpoint_files.hpp).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "kernels/tensor.hpp"

namespace collie {

// A rectangle of one state of one parameter: [offsets, offsets + data.shape) of global_shape.
struct CheckpointSlice {
  std::string name;   // Hugging Face name
  std::string state;  // "weight", or an optimizer state such as "exp_avg"
  Shape global_shape;
  std::vector<int64_t> offsets;  // [rank of global_shape]
  Tensor data;                   // f32 or bf16, contiguous, on the host
};

// Immutable, and any thread may read.
class CheckpointSource {
 public:
  struct Slice {
    std::string name, state;  // as CheckpointSlice's
    std::vector<int64_t> global_shape, offsets, shape;
  };

  virtual ~CheckpointSource() = default;
  virtual std::string place() const = 0;  // for messages: a folder, ...
  virtual int64_t step() const = 0;
  virtual const nlohmann::json& metadata() const = 0;  // Manifest::metadata
  // All slices. Those of a state cover it, each element once.
  virtual const std::vector<Slice>& slices() const = 0;
  // Fills `values` with the elements [begin, begin + values.size()) of slices()[index], flattened. Throws
  // UserError or RunError that names the place.
  virtual void read(size_t index, int64_t begin, std::span<float> values) const = 0;
};

// The slice that is the whole of a parameter's weight.
CheckpointSource::Slice whole_weight_slice(const std::string& name, const Shape& shape);

// Several processes may write one checkpoint: one begins and seals it, and each writes its shards in between.
class CheckpointSink {
 public:
  virtual ~CheckpointSink() = default;
  // Returns the token by which the writers of shards know the checkpoint.
  virtual std::string begin(int64_t step) = 0;
  // Returns the shard's entry for seal(), which only the sink understands.
  virtual nlohmann::json write_shard(const std::string& token, int index,
                                     const std::vector<CheckpointSlice>& slices) = 0;
  // The checkpoint of all these shards is complete and lasts from now on; before, nobody can read it. Returns
  // its place.
  virtual std::string seal(int64_t step, const nlohmann::json& metadata,
                           const std::vector<nlohmann::json>& shards) = 0;
  // Removes what was begun and is not sealed.
  virtual void abandon(int64_t step) noexcept = 0;
};

// Writes a whole checkpoint; parts[i] becomes shard i. Returns its place. If that fails, nothing is left of
// it.
std::string write_checkpoint(CheckpointSink& sink, int64_t step, const nlohmann::json& metadata,
                             const std::vector<std::vector<CheckpointSlice>>& parts);

}  // namespace collie
