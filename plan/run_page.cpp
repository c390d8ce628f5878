#include "plan/run_page.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "base/log.hpp"
#include "base/version.hpp"
#include "io/files.hpp"
#include "runtime/page/page.hpp"

namespace collie {

namespace {

std::string status_words(const RunEnded& outcome) {
  switch (outcome.status) {
    case RunStatus::completed:
      return fmt::format("completed after step {}", outcome.step);
    case RunStatus::stopped:
      return fmt::format("stopped early after step {}", outcome.step);
    case RunStatus::interrupted:
      return fmt::format("interrupted after step {}", outcome.step);
    default:
      return fmt::format("failed after step {}: {}", outcome.step, outcome.message);
  }
}

std::string layout_words(const ParallelSection& parallel) {
  std::string words;
  const auto add = [&](const char* what, int size) {
    if (size > 1) words += fmt::format("{}{} {}", words.empty() ? "" : ", ", size, what);
  };
  add("replicas", parallel.dp_size);
  add("tensor shards", parallel.tp_size);
  add("stages", parallel.pp_size);
  add("context shards", parallel.cp_size);
  if (words.empty()) words = "one rank";
  if (parallel.zero_stage > 0) words += fmt::format(", ZeRO {}", parallel.zero_stage);
  if (parallel.pp_size > 1) words += ", schedule " + parallel.schedule;
  return words;
}

std::string model_words(const RunPlan& plan) {
  const Config& config = plan.config;
  std::string words = fmt::format("{} parameters, {}", parameter_count(plan.model), config.model.dtype);
  if (!config.model.path.empty()) words = config.model.path + ", " + words;
  if (config.peft.type != "none") words += ", adapters: " + config.peft.type;
  if (config.quantization.kind != "none") words += ", quantised: " + config.quantization.kind;
  return words;
}

RunPage page_of(const RunPlan& plan, const RunEnded& outcome, const TrainerCore& trainer) {
  const Config& config = plan.config;
  RunPage page;
  page.name = config.run.name;
  page.status = status_words(outcome);
  page.facts = {
      {"model", model_words(plan)},
      {"layout", layout_words(config.parallel)},
      {"a step",
       fmt::format("{} sequences of up to {} tokens", plan.sizes.sequences(), config.data.sequence_length)},
      {"steps", fmt::format("{} of {}", outcome.step, plan.total_steps)},
      {"optimizer", config.optimizer.name},
      {"engine", engine_version()},
  };
  page.records = records_in((std::filesystem::path(config.run.dir) / metrics_name).string());
  page.ranks = trainer.summaries();
  page.busy_s = trainer.busy_seconds();
  page.wall_s = trainer.running_seconds();
  page.traced_step = trainer.traced_step();
  page.traced = trainer.traced();
  page.configuration = to_yaml(config);
  return page;
}

}  // namespace

void write_run_page(const RunPlan& plan, const RunEnded& outcome, const TrainerCore& trainer) {
  if (plan.purpose != Purpose::train || !plan.config.monitor.summary || !plan.folder) return;
  try {
    plan.folder->check_in_place();
    write_file_durably((std::filesystem::path(plan.config.run.dir) / summary_page_name).string(),
                       html_of(page_of(plan, outcome, trainer)));
  } catch (const std::exception& error) {
    log::warn("{}: is not written: {}", summary_page_name, error.what());
  }
}

}  // namespace collie
