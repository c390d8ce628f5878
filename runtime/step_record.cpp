#include "runtime/step_record.hpp"

#include <fstream>

#include "base/error.hpp"
#include "io/json_text.hpp"

namespace collie {

nlohmann::ordered_json record_of(const StepFinished& step) {
  nlohmann::ordered_json record;
  record["step"] = step.step;
  record["epoch"] = step.epoch;
  record["loss"] = step.loss ? nlohmann::ordered_json(static_cast<double>(*step.loss)) : nullptr;
  record["lr"] = static_cast<double>(step.lr);
  record["grad_norm"] = static_cast<double>(step.grad_norm);
  record["tokens"] = step.tokens;
  record["tokens_per_second"] = static_cast<double>(step.tokens_per_second);
  record["step_seconds"] = static_cast<double>(step.step_s);
  record["memory_bytes"] = step.memory_bytes;
  if (step.evaluated) record["eval_loss"] = static_cast<double>(step.eval_loss);
  return record;
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
