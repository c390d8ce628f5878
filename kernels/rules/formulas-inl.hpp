// The formulas of all elementwise update rules. Each is written once, as a functor over a type of values, and
// every device compiles it: kernels/cpu with vectors, once per instruction set; kernels/cuda with floats; the
// reference and the rules themselves with doubles (scalar_formulas.hpp).
//
// So this file has no include guard, and is included inside a namespace that has declared, for its values:
// mul(a, b); sub(a, b); mul_add(a, b, c) = a·b + c and neg_mul_add(a, b, c) = c - a·b, rounded once where the
// device can; div(a, b); root(a); sign(a), which is a itself if a is 0 or not a number; clip(a) from -1 to 1,
// which keeps what is not a number. COLLIE_FORMULA stands before each function.
//
// A functor has a name for messages, the number of its states (at most most_states), its factors (at most
// most_factors; they are computed in double, once per step), where it needs them wide_states, and update(f,
// w, g, s): it updates the weight w and the states s by the gradient g, which the clipping factor has already
// multiplied.
#include "kernels/rules/adam-inl.hpp"
#include "kernels/rules/adamw-inl.hpp"
#include "kernels/rules/adamw_schedule_free-inl.hpp"
#include "kernels/rules/adan-inl.hpp"
#include "kernels/rules/average-inl.hpp"
#include "kernels/rules/importance-inl.hpp"
#include "kernels/rules/lion-inl.hpp"
#include "kernels/rules/lomo-inl.hpp"
#include "kernels/rules/moving_average-inl.hpp"
#include "kernels/rules/muon-inl.hpp"
#include "kernels/rules/sgd-inl.hpp"
#include "kernels/rules/sophia-inl.hpp"

template <class... All>
struct FormulaList {};
using Formulas =
    FormulaList<Adam, AdamW, AdamWScheduleFree, Adan, Average, Importance, ImportanceRoot, Kept, Lion, Lomo,
                MovingAverage, MuonDirection, Sgd, SgdMomentum, SgdNesterov, Sophia, SophiaEstimate>;

// Calls f with the formula of that index.
template <class F, class... All>
inline void with_formula(int index, FormulaList<All...>, F f) {
  int at = 0;
  ((at++ == index ? f(All()) : void()), ...);
}
