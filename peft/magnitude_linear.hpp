// Matrices whose rows have a length of their own (DoRA: Liu et al., arXiv 2402.09353).
#pragma once

#include <memory>

#include "models/linear.hpp"

namespace collie {

// y = m ⊙ (V x) / |V| + bias, where V is the matrix of `direction`, |V| the lengths of its rows, which count
// as constants in backward, and m [out] is adapter.magnitude. `direction` has no bias; `bias` may be none.
// Dropout of an adapter in `direction` is of its own product alone, and not of the matrix's (peft drops both
// in training).
//
// Beside the products of `direction` it costs the lengths of V's rows, in each forward: with an adapter of
// rank r, (r + 1) in · out multiply-adds. It keeps V x / |V| [tokens, out] and 1 / |V| [out], and from its
// backward for the input on dy ⊙ m / |V| [tokens, out].
std::unique_ptr<Linear> make_magnitude_linear(std::unique_ptr<Linear> direction, const LowRankIds& adapter,
                                              ParameterId bias);

}  // namespace collie
