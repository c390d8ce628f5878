// The tokens that may be drawn, and how often, against transformers' logits processors
// (make_sampling_golden.py).
#include "models/sampling.hpp"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "io/files.hpp"
#include "tests/catch.hpp"
#include "tests/paths.hpp"

using namespace collie;
using nlohmann::json;

namespace {

Sampling sampling_of(const json& settings) {
  Sampling sampling;
  sampling.repetition_penalty = settings.value("repetition_penalty", 1.0);
  sampling.temperature = settings.value("temperature", 1.0);
  sampling.top_k = settings.value("top_k", int64_t{0});
  sampling.top_p = settings.value("top_p", 1.0);
  sampling.min_p = settings.value("min_p", 0.0);
  sampling.typical_p = settings.value("typical_p", 1.0);
  return sampling;
}

std::vector<double> probabilities(const std::vector<Candidate>& candidates, size_t vocabulary) {
  double total = 0;
  for (const Candidate& candidate : candidates) total += candidate.weight;
  std::vector<double> all(vocabulary);
  for (const Candidate& candidate : candidates) all.at(candidate.token) = candidate.weight / total;
  return all;
}

}  // namespace

TEST_CASE("probabilities after all settings are those of transformers") {
  const json cases = json::parse(read_text_file(test::golden_file("sampling.json")));
  REQUIRE(cases.size() > 40);
  for (const json& each : cases) {
    INFO(each.dump());
    const auto logits = each.at("logits").get<std::vector<float>>();
    const auto seen = each.at("seen").get<std::vector<int32_t>>();
    const auto found =
        probabilities(sampling_candidates(logits, sampling_of(each.at("settings")), seen), logits.size());
    for (size_t token = 0; token < logits.size(); ++token) {
      const double expected = each.at("probabilities").at(token).get<double>();
      CHECK(found[token] == Approx(expected).epsilon(1e-5).margin(1e-12));
      CHECK((found[token] == 0) == (expected == 0));
    }
  }
}

TEST_CASE("draws are as frequent as their probabilities, and the same for the same seed and index") {
  const std::vector<float> logits = {0, 1, 2, -5, 1};
  Sampling sampling;
  sampling.temperature = 1;
  sampling.top_k = 3;
  const auto expected = probabilities(sampling_candidates(logits, sampling, {}), logits.size());
  std::map<int32_t, int> counts;
  constexpr int draws = 20000;
  for (int index = 0; index < draws; ++index) {
    const int32_t token = sample_token(logits, sampling, {}, static_cast<uint64_t>(index));
    ++counts[token];
    if (index < 100) CHECK(token == sample_token(logits, sampling, {}, static_cast<uint64_t>(index)));
  }
  for (int32_t token = 0; token < 5; ++token)  // within five standard deviations
    CHECK(counts[token] == Approx(draws * expected[token]).margin(5 * std::sqrt(draws * 0.25)));
}

TEST_CASE("without a temperature the largest logit counts, after the penalty of what the text has") {
  Sampling sampling;
  CHECK(sample_token(std::vector<float>{1, 4, 4, 3}, sampling, {}, 0) == 1);
  sampling.repetition_penalty = 2;
  CHECK(sample_token(std::vector<float>{1, 4, 3}, sampling, std::vector<int32_t>{1}, 0) == 2);
  CHECK(sample_token(std::vector<float>{-2, -1.5f}, sampling, std::vector<int32_t>{1}, 0) == 0);
}
