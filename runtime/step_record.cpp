#include "runtime/step_record.hpp"

#include <fstream>
#include <limits>

#include "base/error.hpp"
#include "io/json_text.hpp"

namespace collie {

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
  return event;
}

namespace {

// null stands for what JSON cannot say, and for what a step does not have.
double number_of(const nlohmann::json& record, const char* key) {
  const nlohmann::json& value = record.at(key);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
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
