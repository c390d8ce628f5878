#include "plan/kept_checkpoints.hpp"

#include <fmt/ranges.h>

#include <filesystem>
#include <limits>

#include "base/error.hpp"
#include "base/log.hpp"
#include "io/model_folder.hpp"
#include "plan/checkpoint_metadata.hpp"
#include "plan/evaluated_metrics.hpp"
#include "plan/settings.hpp"

namespace collie {

namespace fs = std::filesystem;

std::string checkpoints_of(const Config& config) {
  return (fs::path(config.run.dir) / "checkpoints").string();
}

bool is_chosen(const CheckpointChoice& from) {
  return from.kind == CheckpointChoice::Kind::step || from.kind == CheckpointChoice::Kind::best;
}

void check_chosen_run(const RunPlan& plan, const CheckpointChoice& from) {
  if (plan.existing != ExistingRun::resume || plan.folder_seen.marker || !is_chosen(from)) return;
  throw UserError("--resume={}: there is no run in '{}'; --resume alone starts one, and goes on with one",
                  to_string(from), plan.config.run.dir);
}

void check_keep_best(const RunPlan& plan) {
  const CheckpointSection& keep = plan.config.checkpoint;
  const ConfigFile& file = plan.config.file;
  if (keep.best_metric != eval_loss_name)
    check_evaluated_metric(plan, keep.best_metric, file.place("checkpoint.best_metric"));
  if (keep.keep_best == 0) return;
  if (keep.best_metric == eval_loss_name && !plan.evaluation_order)
    throw UserError(
        "{}: is {}, but this run evaluates no loss: there is no data.eval; data.eval is wanted, or 0{}",
        file.place("checkpoint.keep_best"), keep.keep_best,
        plan.evaluation_sets.empty() ? "" : ", or a checkpoint.best_metric of eval.sets");
  if (!evaluates(plan))
    throw UserError(
        "{}: is {}, but this run evaluates no {} within its {} steps; eval.at_end: true, or a smaller "
        "eval.every_n_steps is wanted, or 0",
        file.place("checkpoint.keep_best"), keep.keep_best,
        keep.best_metric == eval_loss_name ? "loss" : keep.best_metric, plan.total_steps);
}

void find_evaluated_checkpoints(RunPlan& plan) {
  const BestMetric metric = best_metric_of(plan);
  bool others = false;
  for (EvaluatedCheckpoint& each : evaluated_checkpoints(checkpoints_of(plan.config))) {
    if (each.step > plan.checkpoint->step()) continue;
    others = others || each.metric != metric;
    if (each.metric == metric) plan.evaluated.push_back(std::move(each));
  }
  if (others && plan.config.checkpoint.keep_best > 0)
    log::warn(
        "checkpoint.keep_best: some checkpoints of the run in '{}' were evaluated on other data than {} is "
        "now; "
        "they no longer count, and are removed when checkpoint.keep_last newer ones are there",
        plan.config.run.dir, metric.name == eval_loss_name ? "data.eval" : metric.name);
}

void warn_of_best_that_go(const RunPlan& plan) {
  const CheckpointSection& keep = plan.config.checkpoint;
  std::vector<int64_t> steps = checkpoint_steps(checkpoints_of(plan.config)), going;
  std::erase_if(steps, [&](int64_t step) { return step > plan.checkpoint->step(); });
  const auto older = static_cast<int64_t>(steps.size()) - keep.keep_last;
  const std::vector<EvaluatedCheckpoint> best = best_first(plan.evaluated);
  for (size_t rank = static_cast<size_t>(keep.keep_best); rank < best.size(); ++rank)
    if (older > 0 && (keep.keep_every == 0 || best[rank].step % keep.keep_every != 0) &&
        best[rank].step <= steps[static_cast<size_t>(older - 1)])
      going.push_back(best[rank].step);
  if (!going.empty())
    log::warn(
        "checkpoint.keep_best: is {}, so the checkpoint of step {}, which the run has kept so far, is "
        "removed when the next one is written",
        keep.keep_best, fmt::join(going, ", "));
}

void warn_of_another_model(const RunPlan& plan) {
  const nlohmann::json& maths = plan.checkpoint->metadata().at("maths");
  const nlohmann::json::json_pointer config("/model/config"), tokenizer("/tokenizer");
  std::vector<std::string> changed;
  if (maths.contains(config)) {
    // A key that only one of two versions writes says nothing.
    const nlohmann::json now = to_hugging_face(plan.model.architecture);
    for (const auto& [key, then] : maths.at(config).items())
      if (now.contains(key) && now.at(key) != then) changed.push_back("model.config." + key);
  }
  if (maths.contains(tokenizer) && maths.at(tokenizer) != plan.tokenizer->fingerprint())
    changed.emplace_back("tokenizer");
  if (!changed.empty())
    log::warn("{}: it was trained with another {} than the configuration describes now",
              plan.checkpoint->path(), fmt::join(changed, ", "));
}

void find_later_steps(RunPlan& plan) {
  const int64_t step = plan.checkpoint->step();
  const fs::path folder = plan.config.run.dir;
  for (const int64_t each : checkpoint_steps((folder / "checkpoints").string()))
    if (each > step) plan.later_checkpoints.push_back(each);
  // A damaged final/ does not say of which step it is.
  plan.later_final =
      plan.folder_seen.has_final &&
      step_of_model_folder((folder / "final").string()).value_or(std::numeric_limits<int64_t>::max()) > step;
}

}  // namespace collie
