// Computes metrics for scripts/check_metrics.sh: reads a JSON list of cases (tests/metrics/json_cases.hpp) on
// standard input and prints the list of their numbers, {"name": number, ...}. With "words" in the place of a
// case's metric, the result is the list of the stems of its words.
#include <iostream>
#include <iterator>

#include "metrics/porter_stemmer.hpp"
#include "tests/metrics/json_cases.hpp"

namespace {

using nlohmann::json;

json stems_of(const json& words) {
  json stems = json::array();
  for (const auto& word : words) stems.push_back(collie::porter_stem(word.get<std::string>()));
  return stems;
}

json result_of(const json& metric_case) {
  if (metric_case.contains("words")) return stems_of(metric_case.at("words"));
  const auto metric = collie::make_metric(collie::test::metric_of(metric_case));
  const auto sums = collie::test::sums_of_samples(*metric, metric_case.at("samples"));
  return collie::test::numbers_of(*metric, collie::test::sum_of(sums));
}

}  // namespace

int main() {
  const std::string text((std::istreambuf_iterator<char>(std::cin)), std::istreambuf_iterator<char>());
  json results = json::array();
  for (const auto& metric_case : json::parse(text)) results.push_back(result_of(metric_case));
  std::cout << results.dump() << '\n';
}
