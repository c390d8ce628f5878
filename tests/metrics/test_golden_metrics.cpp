// Metrics against sacreBLEU, rouge-score and scikit-learn: tests/golden/make_metrics_golden.py made the
// golden.
#include <algorithm>
#include <random>

#include "io/files.hpp"
#include "io/json_text.hpp"
#include "metrics/porter_stemmer.hpp"
#include "tests/catch.hpp"
#include "tests/metrics/json_cases.hpp"
#include "tests/paths.hpp"

using namespace collie;
using namespace collie::test;
using nlohmann::json;

namespace {

const json& golden() {
  static const json all = parse_json(read_text_file(golden_file("metrics.json")), "metrics.json");
  return all;
}

}  // namespace

TEST_CASE("metrics equal those of other libraries", "[metrics]") {
  std::map<std::string, int> compared;
  for (const auto& each : golden().at("cases")) {
    const MetricConfig config = metric_of(each);
    const auto metric = make_metric(config);
    const auto found = numbers_of(*metric, sum_of(sums_of_samples(*metric, each.at("samples"))));
    INFO(each.dump());
    for (const auto& [name, number] : each.at("expected").items()) {
      CAPTURE(name);
      REQUIRE(found.count(name) == 1);
      CHECK(found.at(name) == Approx(number.get<double>()).epsilon(1e-9).margin(1e-9));
    }
    ++compared[config.name];
  }
  for (const std::string& name : metric_declarations().names()) {
    if (name.starts_with("test_")) continue;  // of another test
    INFO("a case of " << name << " is wanted");
    CHECK(compared[name] > 0);
  }
}

TEST_CASE("results have the same bits however samples are divided", "[metrics]") {
  std::mt19937 random(7);
  for (const auto& each : golden().at("cases")) {
    const auto metric = make_metric(metric_of(each));
    std::vector<MetricSums> samples = sums_of_samples(*metric, each.at("samples"));
    const auto whole = numbers_of(*metric, sum_of(samples));
    std::shuffle(samples.begin(), samples.end(), random);
    std::vector<MetricSums> replicas(3);
    for (const MetricSums& sums : samples) add_sums(replicas[random() % 3], sums);
    INFO(each.dump());
    CHECK(numbers_of(*metric, sum_of(replicas)) == whole);
  }
}

TEST_CASE("words have the stems that NLTK's Porter stemmer finds", "[metrics]") {
  for (const auto& [word, stem] : golden().at("stems").items()) CHECK(porter_stem(word) == stem);
  CHECK(golden().at("stems").size() > 200);
}
