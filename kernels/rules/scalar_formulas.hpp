// The formulas of all update rules on one double each.
#pragma once

#include <cmath>
#include <type_traits>

#define COLLIE_FORMULA inline
namespace collie::scalar {

inline double mul(double a, double b) {
  return a * b;
}
inline double sub(double a, double b) {
  return a - b;
}
inline double mul_add(double a, double b, double c) {
  return a * b + c;
}
inline double neg_mul_add(double a, double b, double c) {
  return c - a * b;
}
inline double div(double a, double b) {
  return a / b;
}
inline double root(double a) {
  return std::sqrt(a);
}
inline double sign(double a) {
  return a == 0 || std::isnan(a) ? a : std::copysign(1.0, a);
}

inline double clip(double a) {
  return std::abs(a) > 1 ? std::copysign(1.0, a) : a;
}

#include "kernels/rules/formulas-inl.hpp"

// The number by which the operation update() knows a formula.
template <class Formula, class... All>
constexpr int index_in(FormulaList<All...>) {
  int index = 0;
  (void)((std::is_same_v<Formula, All> || (++index, false)) || ...);
  return index;
}
template <class Formula>
constexpr int index_of = index_in<Formula>(Formulas());

}  // namespace collie::scalar
#undef COLLIE_FORMULA
