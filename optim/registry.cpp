#include "optim/adamw.hpp"
#include "optim/learning_rate.hpp"
#include "optim/optimizer.hpp"

namespace collie {

Registry<OptimizerFactory>& optimizers() {
  static Registry<OptimizerFactory>& registry = []() -> Registry<OptimizerFactory>& {
    static Registry<OptimizerFactory> all("optimizer", "optimizer.name");
    all.add("adamw", make_adamw);
    return all;
  }();
  return registry;
}

Registry<LearningRateFactory>& learning_rate_schedules() {
  static Registry<LearningRateFactory>& registry = []() -> Registry<LearningRateFactory>& {
    static Registry<LearningRateFactory> all("learning-rate schedule", "lr_scheduler.name");
    all.add("constant", make_constant_schedule);
    all.add("linear", make_linear_schedule);
    all.add("cosine", make_cosine_schedule);
    return all;
  }();
  return registry;
}

}  // namespace collie
