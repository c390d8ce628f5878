// chrF (Popović, WMT 2015) and chrF++ (WMT 2017), as sacreBLEU computes them.
#include <limits>

#include "io/jinja/text.hpp"
#include "io/utf8.hpp"
#include "metrics/ascii_punctuation.hpp"
#include "metrics/built_in.hpp"
#include "metrics/ngrams.hpp"
#include "metrics/share.hpp"

namespace collie {
namespace {

constexpr size_t sums_of_order = 3;  // n-grams of the text, of the reference, and those that match
constexpr double almost_nothing = 1e-16;

// Words, of which a punctuation mark at the end, or else at the beginning, is a word of its own.
std::vector<std::string_view> words_for_chrf(std::string_view text) {
  std::vector<std::string_view> words;
  for (const std::string_view word : jinja::split_at_space(text, -1, false)) {
    const size_t last = previous_code_point(word, word.size());
    size_t second = 0;
    next_code_point(word, second);
    if (last > 0 && is_ascii_punctuation(word.back())) {
      words.push_back(word.substr(0, last));
      words.push_back(word.substr(last));
    } else if (last > 0 && is_ascii_punctuation(word.front())) {
      words.push_back(word.substr(0, second));
      words.push_back(word.substr(second));
    } else {
      words.push_back(word);
    }
  }
  return words;
}

class Chrf : public Metric {
 public:
  explicit Chrf(const OptionValues& options)
      : char_order_(static_cast<size_t>(options.whole_number("char_order"))),
        word_order_(static_cast<size_t>(options.whole_number("word_order"))),
        square_(options.number("beta") * options.number("beta")),
        lowercase_(options.flag("lowercase")),
        whitespace_(options.flag("whitespace")),
        eps_smoothing_(options.flag("eps_smoothing")) {}

  // Of the reference with which the sample has the best score, the first of several.
  MetricSums of_text(const TextSample& sample) const override {
    const std::vector<NgramCounts> text = ngrams_of(sample.text);
    MetricSums best;
    double best_score = -1;
    for (const std::string& reference : sample.references) {
      const MetricSums sums = compared(text, ngrams_of(reference));
      const double score = score_of(sums);
      if (score <= best_score) continue;
      best_score = score;
      best = sums;
    }
    return best;
  }

  std::vector<NamedNumber> result(const MetricSums& sums) const override {
    return {{"chrf", sums.empty() ? std::numeric_limits<double>::quiet_NaN() : score_of(sums)}};
  }

 private:
  std::vector<NgramCounts> ngrams_of(std::string_view given) const {
    std::string text = replace_invalid_utf8(given);
    if (lowercase_) text = jinja::lower_case(text);
    std::string characters = text;
    if (!whitespace_) {
      characters.clear();
      for (const std::string_view word : jinja::split_at_space(text, -1, false)) characters += word;
    }
    std::vector<NgramCounts> all;
    const auto all_characters = characters_of(characters);
    for (size_t n = 1; n <= char_order_; ++n) all.push_back(count_ngrams(all_characters, n));
    if (word_order_ == 0) return all;
    const auto words = words_for_chrf(text);
    for (size_t n = 1; n <= word_order_; ++n) all.push_back(count_ngrams(words, n));
    return all;
  }

  // An order that the reference is too short for does not count.
  static MetricSums compared(const std::vector<NgramCounts>& text,
                             const std::vector<NgramCounts>& reference) {
    MetricSums sums;
    for (size_t i = 0; i < text.size(); ++i) {
      sums.push_back(reference[i].total > 0 ? static_cast<double>(text[i].total) : 0);
      sums.push_back(static_cast<double>(reference[i].total));
      sums.push_back(static_cast<double>(text[i].matches_in(reference[i])));
    }
    return sums;
  }

  double f_score(double precision, double recall, double otherwise) const {
    const double below = square_ * precision + recall;
    return below > 0 ? (1 + square_) * precision * recall / below : otherwise;
  }

  // From 0 to 100.
  double score_of(const MetricSums& sums) const {
    const size_t orders = char_order_ + word_order_;
    double scores = 0, precisions = 0, recalls = 0, counted = 0;
    for (size_t i = 0; i < orders; ++i) {
      const double text = sum_at(sums, sums_of_order * i), reference = sum_at(sums, sums_of_order * i + 1);
      const double matches = sum_at(sums, sums_of_order * i + 2);
      const double precision = text > 0 ? matches / text : almost_nothing;
      const double recall = reference > 0 ? matches / reference : almost_nothing;
      scores += f_score(precision, recall, almost_nothing);
      if (text == 0 || reference == 0) continue;
      precisions += precision;
      recalls += recall;
      ++counted;
    }
    if (eps_smoothing_) return 100 * scores / static_cast<double>(orders);
    if (counted == 0) return 0;
    return 100 * f_score(precisions / counted, recalls / counted, 0);
  }

  size_t char_order_, word_order_;
  double square_;
  bool lowercase_, whitespace_, eps_smoothing_;
};

}  // namespace

std::unique_ptr<Metric> make_chrf(const OptionValues& options) {
  return std::make_unique<Chrf>(options);
}

}  // namespace collie
