// What metrics declare, and how wrong ones are refused.
#include <cmath>

#include "metrics/metric.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"

using namespace collie;
using collie::test::contains;

namespace {

std::string place_of(const std::string& key) {
  return "c.yaml:7: " + key;
}

void check(const MetricConfig& metric, SetKind kind) {
  check_metric(metric, kind, "eval.sets.0.metrics.1", place_of);
}

// How many samples have longer texts than their first reference.
class LongerTexts : public Metric {
 public:
  MetricSums of_text(const TextSample& sample) const override {
    return {sample.text.size() > sample.references.front().size() ? 1.0 : 0.0};
  }
  std::vector<NamedNumber> result(const MetricSums& sums) const override {
    return {{"longer", sums.empty() ? 0 : sums.front()}};
  }
};

}  // namespace

TEST_CASE("every metric is declared and made, for sets that its declaration names", "[metrics]") {
  REQUIRE(metrics().names() == metric_declarations().names());
  for (const std::string& name : metrics().names()) {
    CAPTURE(name);
    const MetricDeclaration declared = metric_declarations().find(name);
    REQUIRE_FALSE(declared.kinds.empty());
    CHECK_FALSE(declared.doc.empty());
    CHECK_NOTHROW(check({name}, declared.kinds.front()));
    const auto metric = make_metric({name});
    const std::vector<std::string> references{"a b"};
    switch (declared.kinds.front()) {
      case SetKind::perplexity:
        CHECK_NOTHROW(metric->of_tokens({1.0, 1, 1}));
        CHECK_THROWS_AS(metric->of_text({"a", references}), std::logic_error);
        break;
      case SetKind::classification:
        CHECK_NOTHROW(metric->of_class({0, 0, {}}));
        CHECK_THROWS_AS(metric->of_tokens({1.0, 1, 1}), std::logic_error);
        break;
      case SetKind::generation:
        CHECK_NOTHROW(metric->of_text({"a", references}));
        CHECK_THROWS_AS(metric->of_class({0, 0, {}}), std::logic_error);
        break;
    }
    CHECK(std::isnan(metric->result({}).front().value));
    CHECK(metric->result({}).front().name == name);
  }
}

TEST_CASE("an unknown metric is refused with the nearest one", "[metrics]") {
  CHECK_THROWS_WITH(
      check({"blue"}, SetKind::generation),
      contains("c.yaml:7: eval.sets.0.metrics.1.name: unknown metric 'blue'; the nearest is bleu") &&
          contains("known: accuracy, bleu, chrf"));
  CHECK_THROWS_WITH(check({"entirely_else"}, SetKind::generation),
                    contains("unknown metric 'entirely_else'; known: accuracy"));
}

TEST_CASE("a metric that does not fit its set is refused with those that do", "[metrics]") {
  CHECK_THROWS_WITH(
      check({"bleu"}, SetKind::perplexity),
      contains("c.yaml:7: eval.sets.0.metrics.1.name: the metric bleu is of a generation set, and "
               "this is a perplexity set, which may have loss, perplexity, token_accuracy"));
}

TEST_CASE("options of metrics are refused by name", "[metrics]") {
  const auto refused = [](const std::string& metric, const OptionValues& options, const std::string& words) {
    CHECK_THROWS_WITH(check({metric, options}, metric_declarations().find(metric).kinds.front()),
                      contains(words));
  };
  refused("bleu", {{"tokenise", "13a"}},
          "eval.sets.0.metrics.1.tokenise: unknown key; the options of bleu are tokenize");
  refused("bleu", {{"tokenize", "ja-mecab"}}, "eval.sets.0.metrics.1.tokenize: found 'ja-mecab'");
  refused("bleu", {{"max_ngram_order", int64_t{0}}}, "eval.sets.0.metrics.1.max_ngram_order: found 0");
  refused("bleu", {{"smooth_value", 0.5}}, "smooth_value: found with smooth_method exp, which has no value");
  refused("f_beta", {{"beta", 0.0}}, "eval.sets.0.metrics.1.beta: found 0");
  refused("f_beta", {{"beta", int64_t{1}}}, "its value has another type");
  refused("exact_match", {{"ignore_pattern", "a(b"}},
          "eval.sets.0.metrics.1.ignore_pattern: found 'a(b', which is no regular expression of PCRE2");
}

TEST_CASE("two metrics are the same if they compute the same", "[metrics]") {
  CHECK(MetricConfig{"bleu"} == MetricConfig{"bleu", {{"tokenize", "13a"}}});
  CHECK_FALSE(MetricConfig{"bleu"} == MetricConfig{"bleu", {{"tokenize", "char"}}});
  CHECK_FALSE(MetricConfig{"rouge1"} == MetricConfig{"rouge2"});
}

TEST_CASE("a host's metric is found by its name", "[metrics]") {
  add_metric("test_longer", {{}, {SetKind::generation}, "samples with longer texts"},
             [](const OptionValues&) { return std::make_unique<LongerTexts>(); });
  CHECK_NOTHROW(check({"test_longer"}, SetKind::generation));
  const auto metric = make_metric({"test_longer"});
  const std::vector<std::string> references{"abc"};
  MetricSums sums;
  add_sums(sums, metric->of_text({"abcd", references}));
  add_sums(sums, metric->of_text({"ab", references}));
  CHECK(metric->result(sums).front().value == 1);
}

TEST_CASE("a plugin cannot take a metric's name", "[metrics]") {
  const NewNamesOnly here;
  CHECK_THROWS_WITH(add_metric("bleu", {{}, {SetKind::generation}, "mine"},
                               [](const OptionValues&) { return std::make_unique<LongerTexts>(); }),
                    contains("metric 'bleu' is registered already"));
}
