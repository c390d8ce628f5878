#include "kernels/rules/rules.hpp"
#include "kernels/rules/scalar_formulas.hpp"

namespace collie {

namespace {

CurvatureEstimate estimate_with(const OptionValues& options) {
  const double beta2 = options.numbers("betas")[1], batch_size = options.number("batch_size");
  return {options.whole_number("hessian_interval"), 1, scalar::index_of<scalar::SophiaEstimate>,
          [=](int64_t targets) {
            using F = scalar::SophiaEstimate;
            UpdateFactors f{};
            f[F::beta2] = beta2;
            f[F::rest] = (1 - beta2) * (batch_size > 0 ? batch_size : static_cast<double>(targets));
            return f;
          }};
}

}  // namespace

// The defaults are those of the authors' implementation, and so are the states' names. Theirs keeps g², and
// multiplies it by B (its `bs`) in each step; here the state keeps B·g², as the paper has it, because B
// differs between estimates.
ElementwiseRule sophia_rule() {
  return {.name = "sophia",
          .options = {learning_rate_option(1e-4),
                      betas_option(0.965, 0.99),
                      {"rho", 0.04, "of the curvature in the denominator: a larger one makes smaller steps",
                       NumberRange::above(0)},
                      weight_decay_option(0.1, "of matrices, see decay_norms_and_biases"),
                      {"hessian_interval", int64_t{10},
                       "updates from one estimate of the curvature to the next", NumberRange{1, 1e9}},
                      {"batch_size", 0.0,
                       "of the estimate, in target tokens, which multiplies the squared gradient of the mean "
                       "loss; 0: as many as the step has",
                       NumberRange::at_least(0)}},
          .with = [](const OptionValues& options) -> ElementwiseUpdateRule {
            const double beta1 = options.numbers("betas")[0], rho = options.number("rho");
            const double weight_decay = options.number("weight_decay");
            return {scalar::index_of<scalar::Sophia>,
                    {{"exp_avg"}, {.name = "hessian", .wide = true}},
                    [=](double lr, int64_t) {
                      using F = scalar::Sophia;
                      UpdateFactors f{};
                      f[F::decay] = lr * weight_decay;
                      f[F::beta1] = beta1;
                      f[F::rest1] = 1 - beta1;
                      f[F::rho] = rho;
                      f[F::tiny] = 1e-15;
                      f[F::rate] = lr;
                      return f;
                    },
                    estimate_with(options)};
          }};
}

}  // namespace collie
