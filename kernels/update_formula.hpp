// Limits of the formulas of update rules (kernels/rules/formulas-inl.hpp), for every device. nvcc reads this
// file.
#pragma once

namespace collie {

constexpr int most_states = 4, most_factors = 14;

}  // namespace collie
