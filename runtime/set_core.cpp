#include "runtime/set_core.hpp"

namespace collie {

SetScores::SetScores(const std::vector<MetricConfig>& metrics) : sums_(metrics.size()) {
  for (const MetricConfig& metric : metrics) metrics_.push_back(make_metric(metric));
}

void SetScores::clear() {
  sums_.assign(metrics_.size(), {});
}

template <class Sums>
void SetScores::add_to_each(const Sums& sums_of) {
  for (size_t i = 0; i < metrics_.size(); ++i) add_sums(sums_[i], sums_of(*metrics_[i]));
}

void SetScores::add(const TokenSums& sample) {
  add_to_each([&](const Metric& metric) { return metric.of_tokens(sample); });
}
void SetScores::add(const ClassSample& sample) {
  add_to_each([&](const Metric& metric) { return metric.of_class(sample); });
}
void SetScores::add(const TextSample& sample) {
  add_to_each([&](const Metric& metric) { return metric.of_text(sample); });
}

std::vector<NamedNumber> SetScores::results() const {
  std::vector<NamedNumber> all;
  for (size_t i = 0; i < metrics_.size(); ++i)
    for (NamedNumber& number : metrics_[i]->result(sums_[i])) all.push_back(std::move(number));
  return all;
}

std::string prediction_line(const nlohmann::ordered_json& prediction) {
  return prediction.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace collie
