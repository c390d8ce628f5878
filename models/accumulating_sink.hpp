// The plainest gradient sink: one accumulator a parameter, added to in the order of the contributions.
#pragma once

#include <utility>
#include <vector>

#include "models/parameter.hpp"

namespace collie {

class AccumulatingSink final : public GradientSink {
 public:
  // One tensor a ParameterId, of the parameter's shape. The two ids of a tied matrix have accumulators of
  // their own.
  explicit AccumulatingSink(std::vector<Tensor> gradients)
      : gradients_(std::move(gradients)), contributions_(gradients_.size(), 0) {}

  // The next contribution to each parameter overwrites, later ones accumulate.
  void start_step() { contributions_.assign(gradients_.size(), 0); }

  GradientTarget open(ParameterId id) override {
    return {gradients_.at(static_cast<size_t>(id)), contributions(id) > 0};
  }
  void close(ParameterId id) override { ++contributions_.at(static_cast<size_t>(id)); }

  const std::vector<Tensor>& gradients() const { return gradients_; }
  // Micro-batches that have contributed since start_step(); where it is 0, the gradient is stale.
  int contributions(ParameterId id) const { return contributions_.at(static_cast<size_t>(id)); }

 private:
  std::vector<Tensor> gradients_;
  std::vector<int> contributions_;
};

}  // namespace collie
