#include "kernels/importance.hpp"

#include "kernels/rules/scalar_formulas.hpp"

namespace collie {

ElementwiseUpdate importance_update(const ImportanceDecay& decay, const Tensor& factor) {
  using F = scalar::Importance;
  ElementwiseUpdate step;
  step.formula = scalar::index_of<F>;
  step.factors[F::beta1] = decay.importance;
  step.factors[F::rest1] = 1 - decay.importance;
  step.factors[F::beta2] = decay.uncertainty;
  step.factors[F::rest2] = 1 - decay.uncertainty;
  step.gradient_factor = factor;
  return step;
}

ElementwiseUpdate importance_roots() {
  ElementwiseUpdate step;
  step.formula = scalar::index_of<scalar::ImportanceRoot>;
  return step;
}

ElementwiseUpdate mask_update() {
  ElementwiseUpdate step;
  step.formula = scalar::index_of<scalar::Kept>;
  return step;
}

}  // namespace collie
