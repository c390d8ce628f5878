// BLEU (Papineni et al., ACL 2002), as sacreBLEU computes it.
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

#include "io/jinja/text.hpp"
#include "io/utf8.hpp"
#include "metrics/bleu_tokenizer.hpp"
#include "metrics/built_in.hpp"
#include "metrics/exact_sum.hpp"
#include "metrics/ngrams.hpp"
#include "metrics/share.hpp"

namespace collie {
namespace {

struct BleuOptions {
  explicit BleuOptions(const OptionValues& options)
      : tokenize(bleu_tokenizer(options.text("tokenize"))),
        smooth_method(options.text("smooth_method")),
        smooth_value(options.has("smooth_value") ? options.number("smooth_value")
                     : smooth_method == "floor"  ? 0.1
                                                 : 1),
        lowercase(options.flag("lowercase")),
        order(static_cast<size_t>(options.whole_number("max_ngram_order"))),
        effective_order(options.flag("effective_order")),
        of_sentences(options.text("level") == "sentence") {}

  BleuTokenizer tokenize;
  std::string smooth_method;
  double smooth_value;
  bool lowercase;
  size_t order;
  bool effective_order;
  bool of_sentences;
};

// Where the sums of a corpus are: lengths of texts and of references in tokens, then for each order the
// n-grams that match, then for each order those of the texts.
struct BleuSums {
  const MetricSums& sums;
  size_t order;

  double text_length() const { return sum_at(sums, 0); }
  double reference_length() const { return sum_at(sums, 1); }
  double matches(size_t n) const { return sum_at(sums, 1 + n); }  // n from 1
  double ngrams(size_t n) const { return sum_at(sums, 1 + order + n); }
};

// Texts that are shorter than their references lose by it.
double brevity_penalty(const BleuSums& sums) {
  if (sums.text_length() >= sums.reference_length()) return 1;
  return sums.text_length() > 0 ? std::exp(1 - sums.reference_length() / sums.text_length()) : 0;
}

// Precisions of n-grams of 1 to `order` tokens, from 0 to 1, as far as texts are long enough.
std::vector<double> smoothed_precisions(const BleuSums& sums, const BleuOptions& options) {
  std::vector<double> precisions;
  double halved = 1;
  for (size_t n = 1; n <= sums.order; ++n) {
    const double added = options.smooth_method == "add-k" && n > 1 ? options.smooth_value : 0;
    const double matches = sums.matches(n) + added, ngrams = sums.ngrams(n) + added;
    if (ngrams == 0) break;
    double counted = matches;
    if (matches == 0 && options.smooth_method == "exp") counted = halved /= 2;
    if (matches == 0 && options.smooth_method == "floor") counted = options.smooth_value;
    precisions.push_back(counted / ngrams);
  }
  return precisions;
}

bool has_matches(const BleuSums& sums) {
  for (size_t n = 1; n <= sums.order; ++n)
    if (sums.matches(n) > 0) return true;
  return false;
}

// From 0 to 100: the geometric mean of the precisions, times the penalty.
double bleu_of(const BleuSums& sums, const BleuOptions& options) {
  if (!has_matches(sums)) return 0;
  const std::vector<double> precisions = smoothed_precisions(sums, options);
  if (precisions.size() < sums.order && !options.effective_order) return 0;
  double logarithms = 0;
  for (const double precision : precisions) {
    if (precision == 0) return 0;
    logarithms += std::log(100 * precision);
  }
  return brevity_penalty(sums) * std::exp(logarithms / static_cast<double>(precisions.size()));
}

class Bleu : public Metric {
 public:
  explicit Bleu(const OptionValues& options) : options_(options) {}

  MetricSums of_text(const TextSample& sample) const override {
    const MetricSums corpus = corpus_sums(sample);
    if (!options_.of_sentences) return corpus;
    const auto score = exact_terms_of(bleu_of({corpus, options_.order}, options_));
    MetricSums sums{1};
    sums.insert(sums.end(), score.begin(), score.end());
    return sums;
  }

  std::vector<NamedNumber> result(const MetricSums& sums) const override {
    if (sums.empty()) return {{"bleu", std::numeric_limits<double>::quiet_NaN()}};
    if (options_.of_sentences)
      return {{"bleu", share_of(value_of_terms(std::span(sums).subspan(1)), sums.front())}};
    const BleuSums all{sums, options_.order};
    return {{"bleu", bleu_of(all, options_)}, {"bleu_brevity_penalty", brevity_penalty(all)}};
  }

 private:
  std::string prepared(std::string_view given) const {
    std::string text = replace_invalid_utf8(given);
    if (options_.lowercase) text = jinja::lower_case(text);
    return options_.tokenize(jinja::strip(text, std::nullopt, false, true));
  }

  MetricSums corpus_sums(const TextSample& sample) const {
    const std::string text = prepared(sample.text);
    const auto tokens = jinja::split_at_space(text, -1, false);
    const size_t order = options_.order;
    std::vector<NgramCounts> most(order);
    int64_t nearest_length = 0;
    bool first = true;
    for (const std::string& reference : sample.references) {
      const std::string reference_text = prepared(reference);
      const auto reference_tokens = jinja::split_at_space(reference_text, -1, false);
      for (size_t n = 0; n < order; ++n) most[n].raise_to(count_ngrams(reference_tokens, n + 1));
      nearest_length = nearer_length(tokens.size(), reference_tokens.size(), nearest_length, first);
      first = false;
    }
    MetricSums sums(2 + 2 * order);
    sums[0] = static_cast<double>(tokens.size());
    sums[1] = static_cast<double>(nearest_length);
    for (size_t n = 0; n < order; ++n) {
      const NgramCounts ngrams = count_ngrams(tokens, n + 1);
      sums[2 + n] = static_cast<double>(ngrams.matches_in(most[n]));
      sums[2 + order + n] = static_cast<double>(ngrams.total);
    }
    return sums;
  }

  // The length of the reference that is nearest to the text's; of two that are as near, the shorter.
  static int64_t nearer_length(size_t text, size_t reference, int64_t kept, bool first) {
    const auto length = static_cast<int64_t>(text), candidate = static_cast<int64_t>(reference);
    const int64_t distance = std::abs(candidate - length), best = std::abs(kept - length);
    if (first || distance < best || (distance == best && candidate < kept)) return candidate;
    return kept;
  }

  BleuOptions options_;
};

}  // namespace

std::unique_ptr<Metric> make_bleu(const OptionValues& options) {
  return std::make_unique<Bleu>(options);
}

}  // namespace collie
