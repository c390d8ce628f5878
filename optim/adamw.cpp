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
  explicit AdamW(const OptimizerConfig& config) : config_(config) { check(config); }

  std::vector<std::string> state_names() const override { return {"exp_avg", "exp_avg_sq"}; }

  bool rounds_stochastically() const override { return true; }

  void update(Operations& operations, std::span<ParameterRange> ranges,
              const UpdateArguments& arguments) override {
    std::vector<AdamWTensors> tensors;
    tensors.reserve(ranges.size());
    for (ParameterRange& range : ranges) {
      COLLIE_ASSERT(range.states.size() == 2, "{}: adamw has 2 states, {} given", range.name,
                    range.states.size());
      tensors.push_back(
          {range.weight, range.gradient, range.states[0], range.states[1], range.rounded, range.first_index});
    }
    operations.adamw(tensors,
                     {arguments.lr, config_.betas[0], config_.betas[1], config_.eps, config_.weight_decay,
                      arguments.step, arguments.gradient_factor, arguments.rounding});
  }

 private:
  OptimizerConfig config_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw(const OptimizerConfig& config) {
  return std::make_unique<AdamW>(config);
}

}  // namespace collie
