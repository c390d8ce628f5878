// For a layer that works in chunks of a micro-batch: its weights are acquired, and its gradient targets
// opened, at the first chunk and given back after the last, so that sources and sinks see one use a
// micro-batch.
#pragma once

#include <utility>
#include <vector>

#include "models/parameter.hpp"

namespace collie {

class OnceAcquired final : public ParameterSource {
 public:
  explicit OnceAcquired(ParameterSource& source) : source_(source) {}
  ~OnceAcquired() override {
    for (auto& [id, weight] : held_) {
      weight = Tensor();
      source_.release(id);
    }
  }
  OnceAcquired(const OnceAcquired&) = delete;
  OnceAcquired& operator=(const OnceAcquired&) = delete;

  Tensor acquire(ParameterId id) override {
    for (const auto& [held, weight] : held_)
      if (held == id) return weight;
    return held_.emplace_back(id, source_.acquire(id)).second;
  }
  void release(ParameterId) override {}

 private:
  ParameterSource& source_;
  std::vector<std::pair<ParameterId, Tensor>> held_;
};

class OnceOpened final : public GradientSink {
 public:
  explicit OnceOpened(GradientSink& sink) : sink_(sink) {}

  // The first chunk obeys the sink's target, later ones accumulate.
  GradientTarget open(ParameterId id) override {
    for (const auto& [opened, gradient] : opened_)
      if (opened == id) return {gradient, true};
    GradientTarget target = sink_.open(id);
    opened_.emplace_back(id, target.gradient);
    return target;
  }
  void close(ParameterId) override {}

  void finish() {
    for (auto& [id, gradient] : std::exchange(opened_, {})) {
      gradient = Tensor();
      sink_.close(id);
    }
  }

 private:
  GradientSink& sink_;
  std::vector<std::pair<ParameterId, Tensor>> opened_;
};

}  // namespace collie
