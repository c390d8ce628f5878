// Matrices with adapters (models/adapters.hpp).
#pragma once

#include <memory>

#include "models/linear.hpp"

namespace collie {

// The LinearFactory of models with adapters: a dense matrix, wrapped in those that it has.
std::unique_ptr<Linear> make_adapted_linear(const MatrixIds& matrix);

}  // namespace collie
