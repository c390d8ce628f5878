// ROUGE (Lin, ACL 2004), as the package rouge-score computes it.
#include <algorithm>
#include <limits>

#include "io/utf8.hpp"
#include "metrics/built_in.hpp"
#include "metrics/common_subsequence.hpp"
#include "metrics/exact_sum.hpp"
#include "metrics/ngrams.hpp"
#include "metrics/rouge_words.hpp"
#include "metrics/share.hpp"

namespace collie {
namespace {

struct RougeScore {
  double precision = 0, recall = 0;

  double f_score() const {
    return precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0;
  }
};

RougeScore score_of_matches(double matches, size_t of_text, size_t of_reference) {
  return {matches / std::max(1.0, static_cast<double>(of_text)),
          matches / std::max(1.0, static_cast<double>(of_reference))};
}

// How a text is compared with a reference, both valid UTF-8.
using RougeComparison =
    std::function<RougeScore(const std::string& text, const std::string& reference, bool stem)>;

RougeScore of_ngrams(size_t order, const std::string& text, const std::string& reference, bool stem) {
  const auto ngrams_of = [&](const std::string& given) {
    const std::vector<std::string> words = rouge_words(given, stem);
    return count_ngrams({words.begin(), words.end()}, order);
  };
  const NgramCounts of_text = ngrams_of(text), of_reference = ngrams_of(reference);
  return score_of_matches(static_cast<double>(of_text.matches_in(of_reference)),
                          static_cast<size_t>(of_text.total), static_cast<size_t>(of_reference.total));
}

RougeScore of_sequences(const std::string& text, const std::string& reference, bool stem) {
  const auto words = rouge_words(text, stem), reference_words = rouge_words(reference, stem);
  return score_of_matches(static_cast<double>(common_length(reference_words, words)), words.size(),
                          reference_words.size());
}

using Lines = std::vector<std::vector<std::string>>;

// The words of each line that is not empty.
Lines lines_of(const std::string& text, bool stem) {
  Lines lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) lines.push_back(rouge_words(std::string_view(text).substr(begin, end - begin), stem));
    begin = end + 1;
  }
  return lines;
}

std::unordered_map<std::string, int64_t> counts_of_words(const Lines& lines, size_t& total) {
  std::unordered_map<std::string, int64_t> counts;
  total = 0;
  for (const auto& line : lines) {
    total += line.size();
    for (const std::string& word : line) ++counts[word];
  }
  return counts;
}

// Of each line of the reference, the words that are in a longest common sequence with some line of the text;
// a word as often as both texts have it.
RougeScore of_lines(const std::string& text, const std::string& reference, bool stem) {
  const Lines lines = lines_of(text, stem), reference_lines = lines_of(reference, stem);
  size_t words = 0, reference_words = 0;
  auto left = counts_of_words(lines, words),
       reference_left = counts_of_words(reference_lines, reference_words);
  double hits = 0;
  for (const auto& reference_line : reference_lines) {
    std::vector<bool> common(reference_line.size());
    for (const auto& line : lines) mark_common(reference_line, line, common);
    for (size_t i = 0; i < reference_line.size(); ++i) {
      if (!common[i]) continue;
      int64_t &here = left[reference_line[i]], &there = reference_left[reference_line[i]];
      if (here == 0 || there == 0) continue;
      --here;
      --there;
      ++hits;
    }
  }
  return score_of_matches(hits, words, reference_words);
}

// The means of F-score, precision and recall. The sums: the samples, and the terms of each.
class Rouge : public Metric {
 public:
  Rouge(std::string name, RougeComparison compare, const OptionValues& options)
      : name_(std::move(name)), compare_(std::move(compare)), stem_(options.flag("use_stemmer")) {}

  MetricSums of_text(const TextSample& sample) const override {
    const RougeScore best = best_of(sample);
    MetricSums sums{1};
    for (const double number : {best.f_score(), best.precision, best.recall}) {
      const auto terms = exact_terms_of(number);
      sums.insert(sums.end(), terms.begin(), terms.end());
    }
    return sums;
  }

  std::vector<NamedNumber> result(const MetricSums& sums) const override {
    return {{name_, mean_of(sums, 0)},
            {name_ + "_precision", mean_of(sums, 1)},
            {name_ + "_recall", mean_of(sums, 2)}};
  }

 private:
  // With the reference that gives the best F-score, the first of several.
  RougeScore best_of(const TextSample& sample) const {
    const std::string text = replace_invalid_utf8(sample.text);
    RougeScore best;
    for (size_t i = 0; i < sample.references.size(); ++i) {
      const RougeScore score = compare_(text, replace_invalid_utf8(sample.references[i]), stem_);
      if (i == 0 || score.f_score() > best.f_score()) best = score;
    }
    return best;
  }

  static double mean_of(const MetricSums& sums, size_t number) {
    if (sums.empty()) return std::numeric_limits<double>::quiet_NaN();
    return value_of_terms(std::span(sums).subspan(1 + exact_terms * number, exact_terms)) / sums.front();
  }

  std::string name_;
  RougeComparison compare_;
  bool stem_;
};

RougeComparison comparison_of_ngrams(size_t order) {
  return [order](const std::string& text, const std::string& reference, bool stem) {
    return of_ngrams(order, text, reference, stem);
  };
}

}  // namespace

std::unique_ptr<Metric> make_rouge_1(const OptionValues& options) {
  return std::make_unique<Rouge>("rouge1", comparison_of_ngrams(1), options);
}

std::unique_ptr<Metric> make_rouge_2(const OptionValues& options) {
  return std::make_unique<Rouge>("rouge2", comparison_of_ngrams(2), options);
}

std::unique_ptr<Metric> make_rouge_l(const OptionValues& options) {
  return std::make_unique<Rouge>("rougeL", of_sequences, options);
}

std::unique_ptr<Metric> make_rouge_l_sum(const OptionValues& options) {
  return std::make_unique<Rouge>("rougeLsum", of_lines, options);
}

}  // namespace collie
