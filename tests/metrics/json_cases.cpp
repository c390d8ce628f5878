#include "tests/metrics/json_cases.hpp"

namespace collie::test {

namespace {

OptionValue value_of_option(const Option& option, const nlohmann::json& given) {
  return std::visit(
      [&](const auto& initial) { return OptionValue(given.get<std::decay_t<decltype(initial)>>()); },
      option.initial);
}

MetricSums sums_of_sample(const Metric& metric, const nlohmann::json& sample) {
  if (sample.contains("tokens"))
    return metric.of_tokens({sample.at("loss").get<double>(), sample.at("tokens").get<int64_t>(),
                             sample.at("right_tokens").get<int64_t>()});
  if (sample.contains("label"))
    return metric.of_class({sample.at("predicted").get<int64_t>(), sample.at("label").get<int64_t>(), {}});
  const auto text = sample.at("text").get<std::string>();
  const auto references = sample.at("references").get<std::vector<std::string>>();
  return metric.of_text({text, references});
}

}  // namespace

MetricConfig metric_of(const nlohmann::json& metric_case) {
  MetricConfig metric{metric_case.at("metric").get<std::string>()};
  const MetricDeclaration declared = metric_declarations().find(metric.name);
  for (const auto& [name, value] : metric_case.at("options").items()) {
    const Option* const option = find_option(declared.options, name);
    COLLIE_ASSERT(option != nullptr, "{} has no option {}", metric.name, name);
    metric.options.set(name, value_of_option(*option, value));
  }
  return metric;
}

std::vector<MetricSums> sums_of_samples(const Metric& metric, const nlohmann::json& samples) {
  std::vector<MetricSums> all;
  for (const auto& sample : samples) all.push_back(sums_of_sample(metric, sample));
  return all;
}

MetricSums sum_of(const std::vector<MetricSums>& all) {
  MetricSums sum;
  for (const MetricSums& sums : all) add_sums(sum, sums);
  return sum;
}

std::map<std::string, double> numbers_of(const Metric& metric, const MetricSums& sums) {
  std::map<std::string, double> numbers;
  for (const NamedNumber& number : metric.result(sums)) numbers[number.name] = number.value;
  return numbers;
}

}  // namespace collie::test
