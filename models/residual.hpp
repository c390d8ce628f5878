// The residual stream between two layers: what the last layer adds to it is added by the norm that comes
// next, in one pass over memory.
#pragma once

#include <utility>

#include "kernels/operations.hpp"

namespace collie {

struct ResidualStream {
  Tensor x;      // [tokens, hidden]
  Tensor delta;  // [tokens, hidden], to be added to x; undefined where there is nothing to add

  // x with everything added, in delta's memory.
  const Tensor& sum(Operations& operations) {
    if (!delta.defined()) return x;
    operations.add(delta, x, delta);
    x = std::exchange(delta, {});
    return x;
  }
};

}  // namespace collie
