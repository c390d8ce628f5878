// The steps of Operations::update() that keep and combine how important elements are to the loss
// (kernels/rules/importance-inl.hpp).
#pragma once

#include "kernels/operations.hpp"

namespace collie {

// How slowly the two running means change; each above 0 and below 1.
struct ImportanceDecay {
  double importance = 0.85, uncertainty = 0.85;
};

// Of ranges with an updated weight, which stays, the gradient of the update, and the states {importance,
// uncertainty} in accumulation_dtype(). `factor` f64 [1] multiplies the gradient; where it is NaN nothing
// changes.
ElementwiseUpdate importance_update(const ImportanceDecay& decay, const Tensor& factor);

// Of ranges {what gets the root of importance times uncertainty, importance, {uncertainty}}.
ElementwiseUpdate importance_roots();

// Of ranges {weight, mask of zeros and ones, {}}: the weight becomes 0 where the mask is.
ElementwiseUpdate mask_update();

}  // namespace collie
