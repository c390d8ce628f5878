// Checkpoints in memory, behind the same interfaces as those in folders.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "io/checkpoint_source.hpp"

namespace collie::test {

class MemoryCheckpoint final : public CheckpointSource {
 public:
  MemoryCheckpoint(int64_t step, nlohmann::json metadata, const std::vector<CheckpointSlice>& slices)
      : step_(step), metadata_(std::move(metadata)) {
    for (const CheckpointSlice& slice : slices) {
      slices_.push_back({slice.name, slice.state, slice.global_shape.to_vector(), slice.offsets,
                         slice.data.shape().to_vector()});
      const float* const values = slice.data.data<float>();
      values_.emplace_back(values, values + slice.data.numel());
    }
  }
  std::string place() const override { return "memory"; }
  int64_t step() const override { return step_; }
  const nlohmann::json& metadata() const override { return metadata_; }
  const std::vector<Slice>& slices() const override { return slices_; }
  void read(size_t index, int64_t begin, std::span<float> values) const override {
    const std::vector<float>& held = values_.at(index);
    const auto count = static_cast<int64_t>(values.size());
    COLLIE_ASSERT(begin >= 0 && begin + count <= static_cast<int64_t>(held.size()), "[{}, {}) of {}", begin,
                  begin + count, held.size());
    std::copy_n(held.begin() + begin, count, values.begin());
  }

 private:
  int64_t step_;
  nlohmann::json metadata_;
  std::vector<Slice> slices_;
  std::vector<std::vector<float>> values_;  // [slices]
};

// Keeps what is sealed.
class MemorySink final : public CheckpointSink {
 public:
  std::map<int64_t, std::shared_ptr<const CheckpointSource>> sealed;  // by step

  std::string begin(int64_t step) override {
    begun_[std::to_string(step)];
    return std::to_string(step);
  }
  nlohmann::json write_shard(const std::string& token, int index,
                             const std::vector<CheckpointSlice>& slices) override {
    begun_.at(token)[index] = slices;
    return {{"shard", index}};
  }
  std::string seal(int64_t step, const nlohmann::json& metadata,
                   const std::vector<nlohmann::json>& shards) override {
    const auto begun = begun_.extract(std::to_string(step));
    std::vector<CheckpointSlice> all;
    for (const nlohmann::json& shard : shards)
      for (const CheckpointSlice& slice : begun.mapped().at(shard.at("shard").get<int>()))
        all.push_back(slice);
    sealed[step] = std::make_shared<const MemoryCheckpoint>(step, metadata, all);
    return "memory";
  }
  void abandon(int64_t step) noexcept override { begun_.erase(std::to_string(step)); }
  bool nothing_begun() const { return begun_.empty(); }

 private:
  std::map<std::string, std::map<int, std::vector<CheckpointSlice>>> begun_;  // by token and index
};

}  // namespace collie::test
