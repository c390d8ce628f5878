// Sums of metrics: exact ones, and what metrics do with texts that are not as others.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "metrics/exact_sum.hpp"
#include "tests/catch.hpp"
#include "tests/metrics/json_cases.hpp"

using namespace collie;
using namespace collie::test;

namespace {

double result_of(const MetricConfig& config, const std::string& text,
                 const std::vector<std::string>& references) {
  const auto metric = make_metric(config);
  return metric->result(metric->of_text({text, references})).front().value;
}

}  // namespace

TEST_CASE("terms say their number to within 2^-65", "[metrics]") {
  std::mt19937_64 random(3);
  for (const double scale : {1e-18, 1e-6, 1.0, 1e5, 1e9})
    for (int i = 0; i < 200; ++i) {
      const double number = scale * std::uniform_real_distribution<double>(-1, 1)(random);
      CHECK(std::abs(value_of_terms(exact_terms_of(number)) - number) <= std::ldexp(1.0, -65));
    }
}

TEST_CASE("sums of terms do not depend on the order, where those of numbers do", "[metrics]") {
  std::mt19937_64 random(5);
  std::vector<double> numbers(10000);
  for (double& number : numbers) number = std::uniform_real_distribution<double>(0, 5000)(random);
  const auto sums_of = [&] {
    MetricSums sums;
    for (const double number : numbers) add_sums(sums, exact_terms_of(number));
    return sums;
  };
  const auto plain_sum = [&] { return std::accumulate(numbers.begin(), numbers.end(), 0.0); };
  const MetricSums first = sums_of();
  const double plain = plain_sum();
  std::sort(numbers.begin(), numbers.end());
  CHECK(sums_of() == first);
  CHECK(plain_sum() != plain);  // else this test shows nothing
  CHECK(value_of_terms(first) == Approx(plain).epsilon(1e-13));
}

TEST_CASE("a loss that is not finite makes the mean not finite", "[metrics]") {
  const auto metric = make_metric({"loss"});
  MetricSums sums = metric->of_tokens({2.5, 5, 0});
  add_sums(sums, metric->of_tokens({std::nan(""), 5, 0}));
  CHECK(std::isnan(metric->result(sums).front().value));
  sums = metric->of_tokens({std::numeric_limits<double>::infinity(), 5, 0});
  CHECK(std::isinf(metric->result(sums).front().value));
}

TEST_CASE("perplexity is that of all tokens, not a mean of perplexities", "[metrics]") {
  const auto metric = make_metric({"perplexity"});
  MetricSums sums = metric->of_tokens({3 * std::log(2.0), 3, 0});
  add_sums(sums, metric->of_tokens({std::log(32.0), 1, 0}));
  CHECK(metric->result(sums).front().value == Approx(4).epsilon(1e-14));
}

TEST_CASE("classes that one replica has not seen count as zeros there", "[metrics]") {
  const auto metric = make_metric({"f_beta", {{"average", "per_class"}}});
  MetricSums sums = metric->of_class({0, 0, {}});
  add_sums(sums, metric->of_class({5, 5, {}}));
  MetricSums other = metric->of_class({5, 5, {}});
  add_sums(other, metric->of_class({0, 0, {}}));
  CHECK(sums == other);
  const auto numbers = numbers_of(*metric, sums);
  CHECK(numbers == std::map<std::string, double>{{"f_beta", 1.0}, {"f_beta_0", 1.0}, {"f_beta_5", 1.0}});
}

TEST_CASE("a text that is no UTF-8 is compared with U+FFFD in the place of what is not", "[metrics]") {
  for (const std::string name : {"bleu", "chrf", "exact_match"}) {
    CAPTURE(name);
    const double whole = name == "exact_match" ? 1 : 100;
    CHECK(result_of({name}, "one two three four \xC3", {"one two three four \xEF\xBF\xBD"}) ==
          Approx(whole).epsilon(1e-12));
  }
  CHECK(result_of({"rouge1"}, "one \xFFtwo", {"one two"}) == 1);
}

TEST_CASE("a pattern that takes too long on a text ends the run, named", "[metrics]") {
  const MetricConfig slow{"exact_match", {{"ignore_pattern", "(a+)+$"}}};
  CHECK_THROWS_AS(result_of(slow, std::string(60, 'a') + "b", {"x"}), RunError);
}
