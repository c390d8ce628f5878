// The loss sees one chunk of logits at a time, so that full logits never exist.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "base/registry.hpp"
#include "kernels/operations.hpp"

namespace collie {

class Loss {
 public:
  virtual ~Loss() = default;
  // logits [chunk, vocab] is overwritten with d(sum of losses)/d(logits) · gradient_scale; labels [chunk],
  // -100 = not a target (its row of the gradient must be zero). Returns the sum of the losses over the
  // chunk's targets.
  virtual double chunk(Operations& operations, Tensor& logits, std::span<const int32_t> labels,
                       double gradient_scale) = 0;
};

using LossFactory = std::function<std::unique_ptr<Loss>()>;
Registry<LossFactory>& losses();  // built in: "cross_entropy"

}  // namespace collie
