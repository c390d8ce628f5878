// The tokens that may be drawn, and how often, against transformers' logits processors
// (make_sampling_golden.py).
#include "models/sampling.hpp"

#include <cmath>
#include <limits>
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

// How far draws are from their probabilities, in standard deviations: chi-square by Wilson and Hilferty's
// cube root. Infinite where a token was drawn that cannot be.
double chi_square_deviations(const std::map<int32_t, int64_t>& counts, const std::vector<double>& expected) {
  int64_t draws = 0;
  for (const auto& [token, count] : counts) draws += count;
  double chi_square = 0;
  int tokens = 0;
  for (size_t token = 0; token < expected.size(); ++token) {
    const auto found = counts.find(static_cast<int32_t>(token));
    const double count = found == counts.end() ? 0 : static_cast<double>(found->second);
    const double wanted = expected[token] * static_cast<double>(draws);
    if (wanted == 0 && count > 0) return std::numeric_limits<double>::infinity();
    if (wanted == 0) continue;
    chi_square += (count - wanted) * (count - wanted) / wanted;
    ++tokens;
  }
  if (tokens < 2) return 0;
  const double freedom = tokens - 1, spread = 2 / (9 * freedom);
  return (std::cbrt(chi_square / freedom) - (1 - spread)) / std::sqrt(spread);
}

}  // namespace

TEST_CASE("draws have the probabilities of transformers, by a chi-square test") {
  const json cases = json::parse(read_text_file(test::golden_file("sampling.json")));
  size_t with_choice = 0, noticed = 0;
  for (const json& each : cases) {
    INFO(each.at("settings").dump());
    const auto logits = each.at("logits").get<std::vector<float>>();
    const auto seen = each.at("seen").get<std::vector<int32_t>>();
    const auto probabilities = each.at("probabilities").get<std::vector<double>>();
    std::map<int32_t, int64_t> counts;
    for (uint64_t index = 0; index < 20'000; ++index)
      ++counts[sample_token(logits, sampling_of(each.at("settings")), seen, index)];
    CHECK(chi_square_deviations(counts, probabilities) < 4);
    if (counts.size() < 3) continue;
    ++with_choice;
    // The test notices a distribution that is flatter, unless it is nearly flat already.
    std::vector<double> flatter = probabilities;
    double total = 0;
    for (double& probability : flatter) total += probability = std::pow(probability, 0.8);
    for (double& probability : flatter) probability /= total;
    noticed += chi_square_deviations(counts, flatter) > 4 ? 1 : 0;
  }
  CHECK(with_choice > 25);
  CHECK(noticed >= with_choice - 2);
}

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
