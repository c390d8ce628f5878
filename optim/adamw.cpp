#include "optim/adamw.hpp"

#include <cmath>

namespace collie {
namespace {

void check(const OptimizerConfig& config) {
  if (config.betas.size() != 2)
    throw UserError("optimizer.betas: {} numbers; adamw needs two, such as [0.9, 0.95]", config.betas.size());
  for (const double beta : config.betas)
    if (!(beta >= 0.0 && beta < 1.0))
      throw UserError("optimizer.betas: {} found; each must be in [0, 1)", beta);
  if (!(config.eps >= 0.0)) throw UserError("optimizer.eps: {} found; it must not be negative", config.eps);
  if (!(config.weight_decay >= 0.0) || !std::isfinite(config.weight_decay))
    throw UserError("optimizer.weight_decay: {} found; it must not be negative", config.weight_decay);
}

class AdamW final : public Optimizer {
 public:
  explicit AdamW(const OptimizerConfig& config)
      : rule_(elementwise_rule("adamw").with({{"lr", config.lr},
                                              {"betas", config.betas},
                                              {"eps", config.eps},
                                              {"weight_decay", config.weight_decay}})) {
    check(config);
  }

  std::vector<std::string> state_names() const override { return {"exp_avg", "exp_avg_sq"}; }

  bool rounds_stochastically() const override { return true; }

  void update(Operations& operations, std::span<ParameterRange> ranges,
              const UpdateArguments& arguments) override {
    COLLIE_ASSERT(arguments.step >= 1, "adamw: step {} must count from 1", arguments.step);
    std::vector<UpdateTensors> tensors;
    tensors.reserve(ranges.size());
    for (const ParameterRange& range : ranges)
      tensors.push_back({range.weight, range.gradient, range.states, range.rounded, range.first_index});
    operations.update(tensors, {rule_.formula, rule_.factors(arguments.lr, arguments.step),
                                arguments.gradient_factor, arguments.rounding});
  }

 private:
  ElementwiseUpdateRule rule_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw(const OptimizerConfig& config) {
  return std::make_unique<AdamW>(config);
}

}  // namespace collie
