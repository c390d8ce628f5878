#include "actors/trainer_settings.hpp"

#include <filesystem>

#include "actors/step_record.hpp"
#include "optim/optimizer.hpp"

namespace collie {

TrainerSettings trainer_settings(const RunPlan& plan, const RunTag& tag) {
  TrainerSettings settings;
  settings.tag = tag;
  settings.purpose = plan.purpose;
  settings.layout = plan.layout;
  settings.total_steps = plan.total_steps;
  if (plan.order) settings.sequences_per_epoch = plan.order->sequences_per_epoch();
  settings.done_position = plan.origin.position;
  settings.done_without_targets = plan.steps_without_targets;
  if (plan.checkpoint) {
    settings.done_steps = plan.checkpoint->step();
    if (plan.purpose == Purpose::train)
      settings.unevaluated = unevaluated_step(
          (std::filesystem::path(plan.config.run.dir) / metrics_name).string(), plan.checkpoint->step());
  }
  settings.evaluate_every = plan.config.eval.every_n_steps;
  settings.evaluate_every_epochs = plan.config.eval.every_n_epochs;
  settings.has_evaluation = plan.evaluation_order != nullptr;
  settings.checkpoint_every = plan.config.checkpoint.every_n_steps;
  settings.learning_rate = plan.config.optimizer.lr;
  settings.schedule = learning_rate_schedules().find(plan.config.lr_scheduler.name)(plan.config.lr_scheduler);
  return settings;
}

}  // namespace collie
