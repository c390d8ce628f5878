#include "runtime/step_record.hpp"

#include <cmath>
#include <fstream>
#include <limits>

#include "base/error.hpp"
#include "io/json_text.hpp"
#include "kernels/memory.hpp"

namespace collie {

namespace {

// The names of what is measured. What is not known has no value, and its name is left out.
struct Measured {
  const char* name;
  DoubleBits StepMeasures::*member;
  bool is_whole = false;  // a number of bytes
};
constexpr Measured measured[] = {
    {"tokens_per_second_per_device", &StepMeasures::tokens_per_second_per_device},
    {"model_flops_per_second", &StepMeasures::model_flops_per_second},
    {"mfu", &StepMeasures::mfu},
    {"compute_share", &StepMeasures::compute_share},
    {"communication_share", &StepMeasures::communication_share},
    {"bubble_share", &StepMeasures::bubble_share},
    {"data_wait_share", &StepMeasures::data_wait_share},
    {"save_wait_share", &StepMeasures::save_wait_share},
    {"sent_bytes_per_second", &StepMeasures::sent_bytes_per_second},
    {"network_bytes_per_second", &StepMeasures::network_bytes_per_second},
    {"disk_read_bytes_per_second", &StepMeasures::disk_read_bytes_per_second},
    {"disk_written_bytes_per_second", &StepMeasures::disk_written_bytes_per_second},
    {"resident_bytes", &StepMeasures::resident_bytes, true},
    {"most_resident_bytes", &StepMeasures::most_resident_bytes, true}};

// The parts before the slash of names of several numbers of a kind.
constexpr const char *peak_bytes = "peak_bytes/", *group_norm = "group_grad_norm/",
                     *rest_of_groups = "group_grad_norm/rest";

std::string name_of_group(size_t group, size_t groups) {
  return group + 1 == groups ? rest_of_groups : group_norm + std::to_string(group);
}

void add_measures(const StepMeasures& measures, Event& event) {
  for (const Measured& each : measured) {
    const double value = measures.*each.member;
    if (std::isnan(value)) continue;
    event.add(each.name, each.is_whole ? EventValue(static_cast<int64_t>(value)) : EventValue(value));
  }
  for (size_t category = 0; category < measures.peak_bytes.size(); ++category)
    event.add(peak_bytes + std::string(name(static_cast<Category>(category))),
              static_cast<int64_t>(measures.peak_bytes[category]));
  for (size_t group = 0; group < measures.group_norms.size(); ++group)
    event.add(name_of_group(group, measures.group_norms.size()),
              static_cast<double>(measures.group_norms[group]));
  if (!measures.watches_ranks) return;
  event.add("slow_ranks", static_cast<int64_t>(measures.slow_ranks.size()));
  // They are there in every step, so that readers of a resumed run find no number of a step done before.
  const SlowRank slowest = measures.slow_ranks.empty() ? SlowRank{-1, 0, 1.0} : measures.slow_ranks.front();
  event.add("slowest_rank", static_cast<int64_t>(slowest.rank));
  event.add("slowest_rank_since_step", slowest.since_step);
}

// Before the first step nothing is measured; the names are there for readers.
void add_empty_measures(Event& event) {
  for (const Measured& each : measured) event.add(each.name, nullptr);
  for (size_t category = 0; category < category_count; ++category)
    event.add(peak_bytes + std::string(name(static_cast<Category>(category))), nullptr);
  for (const char* of_ranks : {"slow_ranks", "slowest_rank", "slowest_rank_since_step"})
    event.add(of_ranks, nullptr);
}

// Of ranks, for sinks that tell them apart.
void add_parts(const StepMeasures& measures, Event& event) {
  for (const RankMeasures& rank : measures.ranks) {
    const std::pair<std::string, std::string> label{"rank", std::to_string(rank.rank)};
    if (!std::isnan(rank.computing_s)) {
      event.parts.push_back({"rank_compute_seconds", {label}, rank.computing_s});
      event.parts.push_back({"rank_communication_seconds", {label}, rank.communicating_s});
    }
    for (size_t category = 0; category < rank.peak_bytes.size(); ++category)
      event.parts.push_back({"rank_peak_bytes",
                             {label, {"category", std::string(name(static_cast<Category>(category)))}},
                             static_cast<double>(rank.peak_bytes[category])});
  }
  for (const SlowRank& slow : measures.slow_ranks)
    event.parts.push_back({"slow_rank_since_step",
                           {{"rank", std::to_string(slow.rank)}},
                           static_cast<double>(slow.since_step)});
}

}  // namespace

Event event_of(const StepFinished& step) {
  Event event;
  event.step = step.step;
  event.amended = step.amended;
  event.add("epoch", step.epoch);
  // Before the first step there are no numbers but the evaluation's. The keys are there for readers.
  const auto of_step = [&](double value) { return step.step > 0 ? EventValue(value) : nullptr; };
  event.add("loss", step.loss ? EventValue(static_cast<double>(*step.loss)) : nullptr);
  event.add("lr", of_step(step.lr));
  event.add("grad_norm", of_step(step.grad_norm));
  event.add("tokens", step.tokens);
  event.add("tokens_per_second", of_step(step.tokens_per_second));
  event.add("step_seconds", of_step(step.step_s));
  event.add("memory_bytes", static_cast<int64_t>(step.memory_bytes));
  if (step.skipped) event.add("skipped", int64_t{1});
  if (step.evaluated && step.has_eval_loss) event.add("eval_loss", static_cast<double>(step.eval_loss));
  for (const EvaluatedMetric& metric : step.metrics)
    event.add(metric.name, static_cast<double>(metric.value));
  if (step.step > 0)
    add_measures(step.measures, event);
  else
    add_empty_measures(event);
  add_parts(step.measures, event);
  return event;
}

namespace {

// null stands for what JSON cannot say, and for what a step does not have.
double number_of(const nlohmann::json& record, const char* key) {
  const nlohmann::json& value = record.at(key);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

int64_t whole_number_of(const nlohmann::json& record, const char* key) {
  return record.contains(key) ? record.at(key).get<int64_t>() : 0;
}

// The numbers of single ranks are in no file, so they are not read back.
StepMeasures measures_of(const nlohmann::json& record) {
  StepMeasures measures;
  for (const Measured& each : measured)
    if (record.contains(each.name)) measures.*each.member = number_of(record, each.name);
  for (size_t category = 0; category < category_count; ++category) {
    const std::string name_of_category = peak_bytes + std::string(name(static_cast<Category>(category)));
    if (!record.contains(name_of_category) || record.at(name_of_category).is_null()) break;
    measures.peak_bytes.push_back(record.at(name_of_category).get<uint64_t>());
  }
  for (size_t group = 0; record.contains(rest_of_groups) && record.contains(name_of_group(group, 0)); ++group)
    measures.group_norms.emplace_back(number_of(record, name_of_group(group, 0).c_str()));
  if (record.contains(rest_of_groups)) measures.group_norms.emplace_back(number_of(record, rest_of_groups));
  measures.watches_ranks = record.contains("slow_ranks") && !record.at("slow_ranks").is_null();
  if (measures.watches_ranks && whole_number_of(record, "slow_ranks") > 0)
    measures.slow_ranks.push_back({static_cast<int>(whole_number_of(record, "slowest_rank")),
                                   whole_number_of(record, "slowest_rank_since_step"), not_measured});
  return measures;
}

StepFinished step_of(const nlohmann::json& record) {
  StepFinished step;
  step.step = record.at("step").get<int64_t>();
  step.epoch = record.at("epoch").get<int64_t>();
  if (!record.at("loss").is_null()) step.loss = record.at("loss").get<double>();
  step.lr = number_of(record, "lr");
  step.grad_norm = number_of(record, "grad_norm");
  step.tokens = record.at("tokens").get<int64_t>();
  step.tokens_per_second = number_of(record, "tokens_per_second");
  step.step_s = number_of(record, "step_seconds");
  step.memory_bytes = record.at("memory_bytes").get<uint64_t>();
  step.skipped = record.contains("skipped");
  step.has_eval_loss = record.contains("eval_loss");
  if (step.has_eval_loss) step.eval_loss = number_of(record, "eval_loss");
  for (const auto& [name, value] : record.items())
    if (name.starts_with(evaluated_metric_prefix))
      step.metrics.push_back({name, number_of(record, name.c_str())});
  step.evaluated = step.has_eval_loss || !step.metrics.empty();
  step.measures = measures_of(record);
  return step;
}

}  // namespace

std::optional<StepFinished> recorded_step(const std::string& path, int64_t step) {
  std::ifstream lines(path);
  for (std::string line; std::getline(lines, line);) {
    try {
      const nlohmann::json record = parse_json_object(line, path);
      if (record.value("step", nlohmann::json()) != step) continue;
      return step_of(record);
    } catch (const UserError&) {                  // the line is no record
    } catch (const nlohmann::json::exception&) {  // another program wrote the line
    }
  }
  return std::nullopt;
}

}  // namespace collie
