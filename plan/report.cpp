#include "plan/report.hpp"

#include <fmt/format.h>

#include "schedule/schedules.hpp"

namespace collie {
namespace {

// Parameters by layer: the embedding, the blocks, the head. [blocks + 2]
std::vector<int64_t> parameters_of_layers(const ModelSpec& model) {
  std::vector<int64_t> layers(static_cast<size_t>(model.architecture.num_hidden_layers) + 2, 0);
  for (const Parameter& parameter : model_parameters(model))
    if (!parameter.tied_copy) layers.at(static_cast<size_t>(parameter.layer)) += parameter.shape.numel();
  return layers;
}

double seconds_of(const StageRange& range, const LayerTimes& times) {
  return (range.embedding ? times.embedding_s : 0) +
         static_cast<double>(range.last_block - range.first_block) * times.block_s +
         (range.head ? times.head_s : 0);
}

std::vector<PlanReport::Stage> stages_of(const RunPlan& plan) {
  const std::vector<int64_t> layers = parameters_of_layers(plan.model);
  std::vector<PlanReport::Stage> stages;
  for (size_t i = 0; i < plan.ranges.size(); ++i) {
    const StageRange& range = plan.ranges[i];
    PlanReport::Stage& stage = stages.emplace_back(PlanReport::Stage{plan.layout.rank_of_stage[i], range});
    if (range.embedding) stage.parameters += layers.front();
    for (int64_t block = range.first_block; block < range.last_block; ++block)
      stage.parameters += layers[static_cast<size_t>(block) + 1];
    if (range.head) stage.parameters += layers.back();
    if (plan.layer_times) stage.seconds = seconds_of(range, *plan.layer_times);
  }
  return stages;
}

void measure_first_step(const RunPlan& plan, PlanReport& report) {
  int64_t keys = 0, computed = 0;  // virtual tokens included
  for (int64_t replica = 0; replica < plan.sizes.dp_size; ++replica) {
    StepSizes sizes = plan.sizes;
    sizes.dp_rank = replica;
    const StepBatch batch = make_step_batch(*plan.order, sizes, plan.origin, plan.origin.steps + 1);
    report.targets = batch.global_target_tokens;
    for (const MicroBatch& micro_batch : batch.micro_batches) {
      report.tokens += static_cast<int64_t>(micro_batch.tokens.size());
      const MicroBatch whole =
          with_prompt(micro_batch, plan.model.prompt, plan.model.architecture.vocab_size);
      computed += static_cast<int64_t>(whole.tokens.size());
      keys += visible_keys(whole);
      if (plan.model.prompt.kind == PromptKind::prefix)
        keys += plan.model.prompt.tokens * static_cast<int64_t>(whole.tokens.size());
    }
  }
  report.work = work_of_step(plan.model, computed, keys);
}

}  // namespace

PlanReport make_plan_report(const RunPlan& plan, std::vector<int> node_of_rank) {
  PlanReport report;
  report.name = plan.config.run.name;
  report.parameters = parameter_count(plan.model);
  report.trained_parameters = trained_parameter_count(plan.model);
  report.matrix_elements = matrix_elements(plan.model.architecture);
  report.grid = plan.layout.grid;
  report.zero_stage = plan.config.parallel.zero_stage;
  report.sequence_parallel = plan.config.parallel.sequence_parallel;
  report.tied = plan.model.architecture.tie_word_embeddings;
  report.device = plan.device.kind;
  report.dtype = dtype_of(plan.config.model);
  report.recompute = plan.config.model.recompute;
  if (recompute_of(report.recompute) == Recompute::full) report.costs.backward_input += report.costs.forward;
  report.threads_per_rank = plan.threads_per_rank;
  report.stages = stages_of(plan);
  report.layer_times = plan.layer_times;
  report.schedule =
      schedule::make_schedule(plan.layout.schedule, {plan.layout.grid.pipeline,
                                                     static_cast<int>(plan.sizes.gradient_accumulation_steps),
                                                     plan.layout.virtual_stages, plan.layout.split_backward});
  report.timeline = schedule::simulate(report.schedule, report.costs, {plan.credits});
  report.sequences = plan.sizes.sequences();
  report.micro_batches = plan.sizes.gradient_accumulation_steps;
  report.micro_batch_size = plan.sizes.micro_batch_size;
  report.sequence_length = plan.config.data.sequence_length;
  measure_first_step(plan, report);
  report.total_steps = plan.total_steps;
  report.steps_per_epoch = plan.steps_per_epoch;
  report.estimate_interval = ParameterGroups(plan.config.optimizer).estimate_interval();
  report.whole_gradients = whole_gradients(plan);
  report.ranks = predict_memory(plan);
  COLLIE_ASSERT(node_of_rank.empty() || node_of_rank.size() == report.ranks.size(),
                "nodes of {} ranks for {}", node_of_rank.size(), report.ranks.size());
  report.node_of_rank = std::move(node_of_rank);
  return report;
}

std::string grouped(int64_t number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<int64_t>(digits.size()) - 3; at > (number < 0 ? 1 : 0); at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

std::string blocks_of(const StageRange& range) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (range.embedding) add("embedding");
  if (range.last_block - range.first_block == 1) add(fmt::format("block {}", range.first_block));
  if (range.last_block - range.first_block > 1)
    add(fmt::format("blocks {} to {}", range.first_block, range.last_block - 1));
  if (range.head) add("head");
  return text;
}

}  // namespace collie
