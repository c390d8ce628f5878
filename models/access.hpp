// How layers reach their weights and gradients: acquired right before use, released right after, never held
// across calls.
#pragma once

#include <utility>

#include "models/linear.hpp"

namespace collie {

// A weight for the length of a scope.
class AcquiredWeight {
 public:
  AcquiredWeight(const LayerContext& context, ParameterId id)
      : source_(context.source), id_(id), weight_(context.source.acquire(id)) {}
  ~AcquiredWeight() {
    weight_ = Tensor();  // the handle goes first: release may free the storage
    source_.release(id_);
  }
  AcquiredWeight(const AcquiredWeight&) = delete;
  AcquiredWeight& operator=(const AcquiredWeight&) = delete;

  const Tensor& operator*() const { return weight_; }

 private:
  ParameterSource& source_;
  ParameterId id_;
  Tensor weight_;
};

// Opens the sink for `id`, calls compute(gradient, accumulate), closes it. Does nothing where no gradients
// are wanted. Not a scope guard: close() may start a reduction and throw.
template <class Compute>
void contribute(const LayerContext& context, ParameterId id, Compute&& compute) {
  if (context.sink == nullptr) return;
  GradientTarget target = context.sink->open(id);
  if (target.gradient.defined()) std::forward<Compute>(compute)(target.gradient, target.accumulate);
  target.gradient = Tensor();
  context.sink->close(id);
}

// The same with a gradient that is there, in the table's dtype.
inline void contribute_tensor(const LayerContext& context, ParameterId id, const Tensor& gradient) {
  Operations& operations = context.operations;
  contribute(context, id, [&](Tensor& sum, bool accumulate) {
    if (!accumulate) return operations.convert(gradient, sum);
    Tensor exact = operations.empty(gradient.shape(), operations.accumulation_dtype(), Category::workspace);
    operations.convert(gradient, exact);
    operations.add(sum, exact, sum);
  });
}

}  // namespace collie
