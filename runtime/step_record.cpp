#include "runtime/step_record.hpp"

#include <fstream>

#include "base/error.hpp"
#include "io/json_text.hpp"

namespace collie {

Event event_of(const StepFinished& step) {
  Event event;
  event.step = step.step;
  event.amended = step.amended;
  event.add("epoch", step.epoch);
  event.add("loss", step.loss ? EventValue(static_cast<double>(*step.loss)) : nullptr);
  event.add("lr", static_cast<double>(step.lr));
  event.add("grad_norm", static_cast<double>(step.grad_norm));
  event.add("tokens", step.tokens);
  event.add("tokens_per_second", static_cast<double>(step.tokens_per_second));
  event.add("step_seconds", static_cast<double>(step.step_s));
  event.add("memory_bytes", static_cast<int64_t>(step.memory_bytes));
  if (step.evaluated) event.add("eval_loss", static_cast<double>(step.eval_loss));
  return event;
}

namespace {

std::optional<StepFinished> step_of(const nlohmann::json& record) {
  StepFinished step;
  step.step = record.at("step").get<int64_t>();
  step.epoch = record.at("epoch").get<int64_t>();
  if (!record.at("loss").is_null()) step.loss = record.at("loss").get<double>();
  step.lr = record.at("lr").get<double>();
  step.grad_norm = record.at("grad_norm").get<double>();
  step.tokens = record.at("tokens").get<int64_t>();
  step.tokens_per_second = record.at("tokens_per_second").get<double>();
  step.step_s = record.at("step_seconds").get<double>();
  step.memory_bytes = record.at("memory_bytes").get<uint64_t>();
  return step;
}

}  // namespace

std::optional<StepFinished> unevaluated_step(const std::string& path, int64_t step) {
  std::ifstream lines(path);
  for (std::string line; std::getline(lines, line);) {
    try {
      const nlohmann::json record = parse_json_object(line, path);
      if (record.value("step", nlohmann::json()) != step) continue;
      return record.contains("eval_loss") ? std::nullopt : step_of(record);
    } catch (const UserError&) {                  // the line is no record
    } catch (const nlohmann::json::exception&) {  // another program wrote the line
    }
  }
  return std::nullopt;
}

}  // namespace collie
