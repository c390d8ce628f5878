// Matrices with low-rank adapters: base(x) + scale B (A drop(x)) for each of them (models/adapters.hpp).
#pragma once

#include <memory>
#include <vector>

#include "models/linear.hpp"

namespace collie {

// Beside the matrix's own products, an adapter of rank r costs 2 r (in + out) multiply-adds a token in
// forward and backward for the input together, and as many for the gradients of A and B. It keeps A x
// [tokens, r], and from its backward for the input on scale · dy B [tokens, r]. With dropout x is dropped
// again where it is needed, and not kept.
std::unique_ptr<Linear> make_low_rank_linear(std::unique_ptr<Linear> base, std::vector<LowRankIds> adapters);

}  // namespace collie
