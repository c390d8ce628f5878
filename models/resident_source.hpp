// The plainest parameter source: every weight is in memory all the time.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "models/parameter.hpp"

namespace collie {

class ResidentSource final : public ParameterSource {
 public:
  // One tensor a ParameterId; the handles are shared, so that updates in place are seen. The two ids of a
  // tied matrix may hold the same tensor.
  explicit ResidentSource(std::vector<Tensor> weights, std::map<ParameterId, QuantisedMatrix> quantised = {})
      : weights_(std::move(weights)), quantised_(std::move(quantised)) {}

  Tensor acquire(ParameterId id) override { return weights_.at(static_cast<size_t>(id)); }
  void release(ParameterId) override {}
  const QuantisedMatrix& quantised(ParameterId id) const override {
    const auto found = quantised_.find(id);
    return found == quantised_.end() ? ParameterSource::quantised(id) : found->second;
  }

  const std::vector<Tensor>& weights() const { return weights_; }

 private:
  std::vector<Tensor> weights_;
  std::map<ParameterId, QuantisedMatrix> quantised_;
};

}  // namespace collie
