// Limits of the formulas of update rules (kernels/rules/formulas-inl.hpp), for every device. nvcc reads this
// file.
#pragma once

namespace collie {

constexpr int most_states = 4, most_factors = 14;

// The states of a formula that are never stored in bfloat16: bit k of Formula::wide_states, which may be
// missing, stands for state k.
template <class Formula>
constexpr unsigned wide_states = 0;
template <class Formula>
requires requires {
  Formula::wide_states;
}
constexpr unsigned wide_states<Formula> = Formula::wide_states;

}  // namespace collie
