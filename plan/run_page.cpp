#include "plan/run_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

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

// The middle one of a number's values: the first steps of a run are slower than those that follow.
std::optional<double> median_of_records(const std::vector<nlohmann::json>& records, const char* name) {
  std::vector<double> values;
  for (const auto& record : records)
    if (record.contains(name) && record[name].is_number()) values.push_back(record[name].get<double>());
  if (values.empty()) return std::nullopt;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void add_rates(RunPage& page) {
  constexpr double giga = 1e9;
  if (const auto seconds = median_of_records(page.records, "step_seconds"))
    page.facts.emplace_back("a step took", fmt::format("{:.4g} s (median)", *seconds));
  const auto flops = median_of_records(page.records, "model_flops_per_second");
  if (!flops) return;
  std::string words = fmt::format("{:.4g} GFLOP/s of the model (median)", *flops / giga);
  if (const auto mfu = median_of_records(page.records, "mfu"))
    words += fmt::format(", {:.1f} % of the devices' peak (MFU)", 100 * *mfu);
  page.facts.emplace_back("computation", words);
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
  add_rates(page);
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
