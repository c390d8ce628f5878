#include "plan/settings.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "optim/optimizer.hpp"
#include "plan/checkpoint_metadata.hpp"
#include "plan/data_order.hpp"
#include "plan/evaluation_sets.hpp"
#include "plan/model_work.hpp"
#include "plan/rank_schedule.hpp"
#include "plan/start_adapter.hpp"
#include "runtime/step_record.hpp"

namespace collie {

Cadence cadence_of(const RunPlan& plan) {
  Cadence cadence;
  cadence.evaluate_every = plan.config.eval.every_n_steps;
  cadence.evaluate_every_epochs = plan.config.eval.every_n_epochs;
  cadence.evaluate_at_start = plan.config.eval.at_start;
  cadence.evaluate_at_end = plan.config.eval.at_end;
  cadence.checkpoint_every = plan.config.checkpoint.every_n_steps;
  cadence.checkpoint_every_epochs = plan.config.checkpoint.every_n_epochs;
  cadence.checkpoint_every_s = 60 * plan.config.checkpoint.every_n_minutes;
  cadence.keep_best = plan.config.checkpoint.keep_best;
  if (plan.order)
    cadence.epochs_done = [order = plan.order](int64_t position) { return epochs_done(*order, position); };
  cadence.has_evaluation = has_evaluation(plan);
  return cadence;
}

namespace {

// Sequences that the run has consumed before `step`.
int64_t position_before(const RunPlan& plan, int64_t step) {
  return position_before_step(*plan.order, plan.sizes, plan.origin, step);
}

}  // namespace

bool evaluates(const RunPlan& plan) {
  if (!plan.order) return false;
  const Cadence cadence = cadence_of(plan);
  return (cadence.has_evaluation && cadence.evaluate_at_end) ||
         cadence.evaluates_within(plan.total_steps, position_before(plan, plan.total_steps + 1));
}

bool saves_before_the_end(const RunPlan& plan) {
  return plan.order &&
         cadence_of(plan).saves_before(plan.total_steps, position_before(plan, plan.total_steps));
}

StepPasses passes_of(const Config& config) {
  return {config.optimizer.fused_update, config.train.clip_grad_norm,
          config.train.clip_grad_norm_mode == "previous"};
}

std::string WholeGradients::words() const {
  if (bytes == 0) return "";
  return fmt::format("fused update: gradients stand whole over {} micro-batches, {} bytes a parameter{}",
                     micro_batches, bytes,
                     shared_by > 1 ? fmt::format(", shared by {} ranks", shared_by) : "");
}

WholeGradients whole_gradients(const RunPlan& plan) {
  const int64_t micro_batches = plan.sizes.gradient_accumulation_steps;
  if (!plan.config.optimizer.fused_update || micro_batches == 1) return {};
  const bool narrow = plan.config.optimizer.grad_dtype == "bfloat16";
  const bool shared = plan.config.parallel.zero_stage >= 2;
  return {static_cast<int64_t>(size_of(narrow ? DType::bf16 : DType::f32)), micro_batches,
          shared ? plan.layout.grid.data_ranks() : 1};
}

TrainerSettings trainer_settings(const RunPlan& plan, const RunTag& tag) {
  TrainerSettings settings;
  settings.tag = tag;
  settings.purpose = plan.purpose;
  settings.layout = plan.layout;
  settings.total_steps = plan.total_steps;
  settings.cadence = cadence_of(plan);
  settings.estimate_due = [groups = std::make_shared<const ParameterGroups>(plan.config.optimizer)](
                              int64_t update) { return groups->estimate_due(update); };
  settings.estimated_step = plan.estimated_step;
  settings.passes = passes_of(plan.config);
  for (const Parameter& parameter : model_parameters(plan.model))
    if (parameter.trainable) settings.parameters.push_back(parameter.name);
  settings.last_norm = plan.last_norm;
  settings.done_position = plan.origin.position;
  settings.done_without_targets = plan.steps_without_targets;
  settings.done_skipped = plan.skipped_steps;
  if (plan.order)
    settings.describe_data = [order = plan.order](int64_t from, int64_t to) {
      return words_of_sequences(*order, from, to);
    };
  if (plan.checkpoint) {
    settings.done_steps = plan.checkpoint->step();
    settings.callback_states = plan.checkpoint->metadata().value("callbacks", nlohmann::json::object());
    if (plan.purpose == Purpose::train)
      settings.last_record = recorded_step(
          (std::filesystem::path(plan.config.run.dir) / metrics_name).string(), plan.checkpoint->step());
    for (const EvaluatedCheckpoint& each : plan.evaluated) {
      settings.best_evaluations.push_back(each.value);
      if (each.step == settings.done_steps) settings.last_evaluation = each.value;
    }
  }
  settings.best_metric = plan.config.checkpoint.best_metric;
  settings.higher_is_better = is_higher_better(settings.best_metric, plan.config.checkpoint.best_mode);
  const auto optimizers = std::make_shared<const ParameterGroups>(plan.config.optimizer);
  settings.memory = plan.checkpoint && plan.purpose == Purpose::train
                        ? memory_of(*plan.checkpoint, *optimizers)
                        : optimizers->memory();
  settings.remember = [optimizers](std::vector<UpdateMemory>& memory, double lr_factor, int64_t update) {
    optimizers->remember(memory, lr_factor, update);
  };
  settings.meter.tells_ranks = !plan.config.monitor.prometheus.empty();
  settings.work = [work = StepWorkCounter(plan.model)](const auto& batches) { return work.of(batches); };
  settings.learning_rate = options_in_force(plan.config.optimizer).number("lr");
  settings.schedule = make_learning_rate_schedule(plan.config.lr_scheduler);
  return settings;
}

ActivationMemory activation_memory_of(const Config& config) {
  const std::string& offload = config.parallel.offload;
  return {recompute_of(config.model.recompute), offload == "activations" || offload == "all"};
}

ModelWorkerSettings worker_settings(const RunPlan& plan, int rank, const RankGroups& groups) {
  ModelWorkerSettings settings;
  settings.rank = rank;
  settings.grid = plan.layout.grid;
  settings.ranges = plan.ranges;
  settings.rank_of_stage = plan.layout.rank_of_stage;
  settings.first_trained_stage = plan.layout.first_trained_stage;
  settings.model = plan.model;
  settings.optimizer = plan.config.optimizer;
  settings.precision = precision_of(plan.config.optimizer, plan.config.model.dtype, plan.config.run.seed);
  const std::string& offload = plan.config.parallel.offload;
  settings.offload_optimizer = offload == "optimizer" || offload == "all";
  settings.activations = activation_memory_of(plan.config);
  settings.graphs = plan.config.device.graphs == "auto";
  settings.loss = plan.config.train.loss;
  settings.hooks = plan.step_hooks;
  settings.ranks = rank_schedule_of(plan);
  settings.seed = plan.config.run.seed;
  settings.threads = plan.threads_per_rank;
  settings.training = plan.purpose == Purpose::train;
  if (plan.weights.kind == WeightOrigin::Kind::folder) settings.weights_folder = plan.weights.path;
  settings.quantised_folder = plan.weights.base.empty() ? plan.weights.path : plan.weights.base;
  settings.adapters = plan.weights.adapters;
  if (plan.weights.kind == WeightOrigin::Kind::folder && plan.model.changes_base())
    settings.base.emplace(base_source(plan));
  if (plan.weights.kind == WeightOrigin::Kind::checkpoint) settings.checkpoint = &*plan.checkpoint;
  settings.sequence_parallel = plan.config.parallel.sequence_parallel;
  settings.zero_stage = plan.config.parallel.zero_stage;
  settings.clip_grad_norm = plan.config.train.clip_grad_norm;
  settings.clip_grad_value = plan.config.train.clip_grad_value;
  settings.bucket_elements = plan.config.parallel.bucket_elements;
  settings.groups = groups;
  settings.make_operations = operations_of(plan, rank);
  return settings;
}

std::shared_ptr<const StepBatch> training_batch(const RunPlan& plan, int64_t step, int replica) {
  StepSizes sizes = plan.sizes;
  sizes.dp_rank = replica;
  StepBatch batch = make_step_batch(*plan.order, sizes, plan.origin, step);
  batch.micro_batches.resize(static_cast<size_t>(sizes.gradient_accumulation_steps), empty_micro_batch());
  return std::make_shared<const StepBatch>(std::move(batch));
}

}  // namespace collie
