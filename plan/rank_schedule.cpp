#include "plan/rank_schedule.hpp"

#include "base/error.hpp"

namespace collie {
namespace {

bool is_allocated(const ModelSpec& model) {
  return !model.adapters.empty() && model.adapters.begin()->second.front().is_allocated;
}

void check_optimizer(const Config& config) {
  if (config.optimizer.fused_update)
    throw UserError(
        "{}: true, but peft.type adalora needs all gradients at a time, after the update, to choose ranks; "
        "false is right",
        config.file.place("optimizer.fused_update"));
  const bool averages = config.optimizer.ema_decay > 0;
  if (ParameterGroups(config.optimizer).has_averages())
    throw UserError(
        "{}: {} evaluates and saves other weights than it trains, and peft.type adalora chooses ranks by "
        "those that are trained; {} is right",
        config.file.place(averages ? "callbacks" : "optimizer.name"),
        averages ? "ema" : config.optimizer.name, averages ? "a run without it" : "another optimizer");
}

}  // namespace

std::optional<RankSchedule> rank_schedule_of(const RunPlan& plan) {
  if (plan.purpose != Purpose::train || !is_allocated(plan.model)) return {};
  const PeftSection& peft = plan.config.peft;
  RankSchedule schedule;
  schedule.total = peft.total_step.value_or(plan.total_steps);
  schedule.tinit = peft.tinit;
  schedule.tfinal = peft.tfinal;
  schedule.interval = peft.deltaT;
  schedule.target_rank = peft.target_r;
  schedule.decay = {peft.beta1, peft.beta2};
  return schedule;
}

void check_rank_schedule(const RunPlan& plan) {
  const std::optional<RankSchedule> schedule = rank_schedule_of(plan);
  if (!schedule) return;
  const Config& config = plan.config;
  const int64_t room = schedule->total - schedule->tfinal;
  if (schedule->tinit >= room)
    throw UserError(
        "{}: found {}, but of {} updates ({}) the last {} are peft.tfinal, so there is none in which ranks "
        "are chosen; together they must be less",
        config.file.place("peft.tinit"), schedule->tinit, schedule->total,
        config.peft.total_step ? "peft.total_step" : "the steps of the run", schedule->tfinal);
  if (config.peft.target_r >= config.peft.init_r)
    throw UserError("{}: found {}, but the adapter's init_r is {}, and ranks are lost; less is right",
                    config.file.place("peft.target_r"), config.peft.target_r, config.peft.init_r);
  check_optimizer(config);
}

}  // namespace collie
