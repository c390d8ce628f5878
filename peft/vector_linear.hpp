// Matrices with a vector that multiplies what they read or give (IA³: Liu et al., arXiv 2205.05638).
#pragma once

#include <memory>

#include "models/linear.hpp"

namespace collie {

// base(x ⊙ l), or base(x) ⊙ l with base's bias in it. It keeps what the vector multiplies, if it is not x
// ([tokens, out]); and from its backward for the input on that of x ⊙ l ([tokens, in]) or dy ⊙ l ([tokens,
// out]).
std::unique_ptr<Linear> make_vector_linear(std::unique_ptr<Linear> base, const VectorIds& vector);

}  // namespace collie
