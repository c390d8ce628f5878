// Dropout (Srivastava et al., JMLR 15, 2014) whose masks depend on the run's seed, the step, the place in the
// model, the token and the channel alone: the same under every layout, when activations are computed again,
// and after a resume.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "models/linear.hpp"

namespace collie {

// Of the place `place` in the model ("block 3/attention"), in a step.
uint64_t dropout_key(const DropoutDraw& draw, const std::string& place);

// Drops elements of x [tokens, width], in place. rows [tokens]: the tokens' numbers in the run; first_column:
// the number of x's first column, where a rank has a part of the columns. Does nothing where context.dropout
// is not set or the rate is 0. It is its own backward.
void drop_elements(LayerContext& context, double rate, const std::string& place,
                   std::span<const uint64_t> rows, Tensor& x, int64_t first_column = 0);

}  // namespace collie
