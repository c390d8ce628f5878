#include <fmt/format.h>

#include "kernels/rules/rules.hpp"
#include "kernels/rules/scalar_formulas.hpp"

namespace collie {

namespace {

ElementwiseUpdateRule plain(double decay) {
  return {scalar::index_of<scalar::Sgd>, {}, [=](double lr, int64_t) {
            using F = scalar::Sgd;
            UpdateFactors f{};
            f[F::decay] = decay;
            f[F::rate] = lr;
            return f;
          }};
}

// PyTorch's buffer begins as the first gradient, without dampening. So does one that begins at 0.
ElementwiseUpdateRule with_momentum(double decay, double momentum, double dampening) {
  return {scalar::index_of<scalar::SgdMomentum>, {{"momentum_buffer"}}, [=](double lr, int64_t step) {
            using F = scalar::SgdMomentum;
            UpdateFactors f{};
            f[F::decay] = decay;
            f[F::rate] = lr;
            f[F::momentum] = momentum;
            f[F::rest] = step == 1 ? 1 : 1 - dampening;
            return f;
          }};
}

ElementwiseUpdateRule with_nesterov(double decay, double momentum) {
  return {scalar::index_of<scalar::SgdNesterov>, {{"momentum_buffer"}}, [=](double lr, int64_t) {
            using F = scalar::SgdNesterov;
            UpdateFactors f{};
            f[F::decay] = decay;
            f[F::rate] = lr;
            f[F::momentum] = momentum;
            return f;
          }};
}

}  // namespace

// The defaults are PyTorch's.
ElementwiseRule sgd_rule() {
  return {.name = "sgd",
          .options = {learning_rate_option(1e-3),
                      {"momentum", 0.0, "0: no state is kept", NumberRange::from_to_below(0, 1)},
                      {"dampening", 0.0, "of what momentum adds, from the second step on",
                       NumberRange::from_to_below(0, 1)},
                      {"nesterov", false, "Nesterov's momentum"},
                      weight_decay_option(0.0, "added to the gradient (L2)")},
          .with = [](const OptionValues& options) -> ElementwiseUpdateRule {
            const double decay = options.number("weight_decay"), momentum = options.number("momentum");
            if (options.flag("nesterov")) return with_nesterov(decay, momentum);
            return momentum == 0 ? plain(decay) : with_momentum(decay, momentum, options.number("dampening"));
          },
          .complaint = [](const OptionValues& options) -> std::pair<std::string, std::string> {
            const double momentum = options.number("momentum"), dampening = options.number("dampening");
            if (!options.flag("nesterov") || (momentum > 0 && dampening == 0)) return {};
            return {"nesterov",
                    fmt::format("found true with momentum {} and dampening {}; it needs a momentum above 0 "
                                "and no dampening",
                                momentum, dampening)};
          }};
}

}  // namespace collie
