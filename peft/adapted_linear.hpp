// Matrices with low-rank adapters (models/adapters.hpp).
#pragma once

#include <memory>

#include "models/linear.hpp"

namespace collie {

// The LinearFactory of models with adapters: a dense matrix, wrapped if it has any.
//
// Beside the matrix's own products, an adapter of rank r costs 2 r (in + out) multiply-adds a token in
// forward and backward for the input together, and as many for the gradients of A and B. It keeps A x
// [tokens, r], and from its backward for the input on scale · dy B [tokens, r]. With dropout x is dropped
// again where it is needed, and not kept.
std::unique_ptr<Linear> make_adapted_linear(const MatrixIds& matrix);

}  // namespace collie
