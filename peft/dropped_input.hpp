// What a low-rank adapter reads of a matrix's input.
#pragma once

#include "models/linear.hpp"

namespace collie {

// x [tokens, in] as the adapter reads it: x itself where nothing is dropped.
Tensor dropped_input(LayerContext& context, const LowRankIds& adapter, const Tensor& x);

// dx [tokens, in] += drop(d_narrow a), where d_narrow [tokens, rank] is the gradient of a times what the
// adapter reads, and a [rank, in].
void add_to_input(LayerContext& context, const LowRankIds& adapter, const Tensor& d_narrow, const Tensor& a,
                  Tensor& dx);

}  // namespace collie
