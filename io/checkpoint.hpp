// Checkpoints are slices of parameters and optimizer states, keyed so that any layout reads what any other
// wrote.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/checkpoint_files.hpp"
#include "io/checkpoint_source.hpp"

namespace collie {

// It is immutable, so ranks may share it; copies share the source.
class Checkpoint {
 public:
  explicit Checkpoint(std::shared_ptr<const CheckpointSource> source);
  // That of a folder; throws as CheckpointFolder does.
  static Checkpoint open(const std::string& path);

  const std::shared_ptr<const CheckpointSource>& source() const { return source_; }
  std::string path() const { return source_->place(); }
  int64_t step() const { return source_->step(); }
  const nlohmann::json& metadata() const { return source_->metadata(); }

  // The shape of the whole parameter's state. Throws UserError if it is not there.
  Shape global_shape(const std::string& name, const std::string& state) const;

  // Throws UserError if the state is missing or does not have the model's shape.
  void check(const std::string& name, const std::string& state, const Shape& expected) const;

  // Fills `out` (f32, contiguous, host) with the rectangle of `state` of parameter `name` that starts at
  // `offsets`, put together from the slices that hold it. Throws UserError as check() does.
  void read(const std::string& name, const std::string& state, const Shape& global_shape,
            const std::vector<int64_t>& offsets, Tensor& out) const;

  // The same of the weights that are evaluated, saved in final/ and used. They are the trained ones
  // ("weight"), unless metadata() says under "averages" how they follow from these and a state: {NAME:
  // {"state": "z", "of_weight": a, "of_state": b}} means a * weight + b * state, with the bits of a run's own
  // evaluations.
  void read_evaluated(const std::string& name, const Shape& global_shape, const std::vector<int64_t>& offsets,
                      Tensor& out) const;
  // All of them, in float32.
  std::vector<float> evaluated(const std::string& name, const Shape& global_shape) const;

 private:
  const std::vector<size_t>& slices_of(const std::string& name, const std::string& state) const;

  std::shared_ptr<const CheckpointSource> source_;
  std::map<std::pair<std::string, std::string>, std::vector<size_t>> slices_;  // by (name, state)
};

// The newest checkpoint under `folder` that verifies. A defective one is skipped with a warning. Returns
// nullopt if there is none. Throws UserError if there are some and none verifies.
std::optional<Checkpoint> latest_checkpoint(const std::string& folder);

}  // namespace collie
