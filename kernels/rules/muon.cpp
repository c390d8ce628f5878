#include <algorithm>
#include <cmath>

#include "kernels/rules/adam_factors.hpp"
#include "kernels/rules/rules.hpp"

namespace collie {

namespace {

// The largest dimension's root times 0.2 gives an update the root mean square that AdamW's has (Liu et al.,
// arXiv 2502.16982); otherwise it is as Jordan et al. have it.
double size_factor(bool matches_adamw, int64_t rows, int64_t columns) {
  const auto m = static_cast<double>(rows), n = static_cast<double>(columns);
  return matches_adamw ? 0.2 * std::sqrt(std::max(m, n)) : std::sqrt(std::max(1.0, m / n));
}

}  // namespace

// The defaults are those of torch.optim.Muon, but the rate is AdamW's, which it is for here, too. Embeddings,
// heads and vectors are updated by AdamW at the same rate and decay.
OrthogonalRule muon_rule() {
  return {
      .name = "muon",
      .options = {learning_rate_option(3e-4),
                  {"momentum", 0.95, "decay of the running mean of gradients",
                   NumberRange::from_to_below(0, 1)},
                  {"nesterov", true, "Nesterov's momentum"},
                  {"ns_steps", int64_t{5}, "Newton-Schulz iterations", NumberRange{1, 100}},
                  {"match_rms_adamw", true, "updates as large as AdamW's; else of spectral norm about 1"},
                  weight_decay_option(0.1, "of matrices, see decay_norms_and_biases"),
                  betas_option(0.9, 0.95),
                  eps_option(1e-8)},
      .with = [](const OptionValues& options) -> OrthogonalUpdateRule {
        const double beta = options.number("momentum"), decay = options.number("weight_decay");
        const bool nesterov = options.flag("nesterov"), matches = options.flag("match_rms_adamw");
        OrthogonalUpdateRule rule;
        rule.iterations = static_cast<int>(options.whole_number("ns_steps"));
        rule.direction = {
            scalar::index_of<scalar::MuonDirection>, {{"momentum_buffer"}}, [=](double, int64_t) {
              using F = scalar::MuonDirection;
              UpdateFactors f{};
              f[F::beta] = beta;
              f[F::rest] = 1 - beta;
              f[F::of_gradient] = nesterov ? 1 - beta : 0;
              f[F::of_mean] = nesterov ? beta : 1;
              return f;
            }};
        rule.formula = scalar::index_of<scalar::Lomo>;
        rule.factors = [=](double lr, int64_t rows, int64_t columns) {
          using F = scalar::Lomo;
          UpdateFactors f{};
          f[F::decay] = 1 - lr * decay;
          f[F::rate] = lr * size_factor(matches, rows, columns);
          return f;
        };
        rule.others = adamw_rule().with(
            {{"betas", options.numbers("betas")}, {"eps", options.number("eps")}, {"weight_decay", decay}});
        return rule;
      }};
}

}  // namespace collie
