#include "io/checkpoint_layers.hpp"

#include <set>
#include <utility>

namespace collie {

LayeredSource::LayeredSource(std::shared_ptr<const CheckpointSource> upper,
                             std::shared_ptr<const CheckpointSource> lower)
    : upper_(std::move(upper)), lower_(std::move(lower)), slices_(upper_->slices()) {
  std::set<std::pair<std::string, std::string>> states;
  for (const Slice& slice : slices_) states.emplace(slice.name, slice.state);
  for (size_t i = 0; i < lower_->slices().size(); ++i) {
    const Slice& slice = lower_->slices()[i];
    if (states.count({slice.name, slice.state}) > 0) continue;
    slices_.push_back(slice);
    lower_indices_.push_back(i);
  }
}

void LayeredSource::read(size_t index, int64_t begin, std::span<float> values) const {
  const size_t upper = upper_->slices().size();
  if (index < upper) return upper_->read(index, begin, values);
  lower_->read(lower_indices_.at(index - upper), begin, values);
}

}  // namespace collie
