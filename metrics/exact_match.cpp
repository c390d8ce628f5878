// Whether a text is one of the references, after both are normalised.
#include "io/jinja/text.hpp"
#include "io/removal_pattern.hpp"
#include "io/utf8.hpp"
#include "metrics/ascii_punctuation.hpp"
#include "metrics/built_in.hpp"
#include "metrics/share.hpp"

namespace collie {
namespace {

void remove_punctuation(std::string& text) {
  std::erase_if(text, is_ascii_punctuation);
}

bool is_article(std::string_view word) {
  return word == "a" || word == "an" || word == "the";
}

// Whether a character is part of a word for Python's regular expressions.
bool is_letter_of_word(char32_t c) {
  return c == '_' || jinja::is_python_alphanumeric(c);
}

// Where the run of characters that begins at `begin` ends: of letters of words, or of others.
size_t end_of_run(std::string_view text, size_t begin) {
  size_t end = begin;
  const bool of_letters = is_letter_of_word(next_code_point(text, end));
  for (size_t next = end; end < text.size(); end = next)
    if (is_letter_of_word(next_code_point(text, next)) != of_letters) break;
  return end;
}

// Articles of English become spaces, where they are words.
std::string without_articles(std::string_view text) {
  std::string result;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = end_of_run(text, begin);
    const std::string_view run = text.substr(begin, end - begin);
    result += is_article(run) ? " " : run;
    begin = end;
  }
  return result;
}

// As the script that evaluates SQuAD (Rajpurkar et al., arXiv 1606.05250) does it.
std::string normalised_as_squad(std::string_view given) {
  std::string text = jinja::lower_case(given);
  remove_punctuation(text);
  text = without_articles(text);
  std::string result;
  for (const std::string_view word : jinja::split_at_space(text, -1, false)) {
    if (!result.empty()) result += ' ';
    result += word;
  }
  return result;
}

class ExactMatch : public Metric {
 public:
  explicit ExactMatch(const OptionValues& options)
      : ignored_(options.text("ignore_pattern")),
        ignore_case_(options.flag("ignore_case")),
        ignore_punctuation_(options.flag("ignore_punctuation")),
        ignore_numbers_(options.flag("ignore_numbers")),
        as_squad_(options.text("normalise") == "squad"),
        trim_(options.flag("trim")) {}

  MetricSums of_text(const TextSample& sample) const override {
    const std::string text = normalised(sample.text);
    for (const std::string& reference : sample.references)
      if (text == normalised(reference)) return {1, 1};
    return {1, 0};
  }

  std::vector<NamedNumber> result(const MetricSums& sums) const override {
    return {{"exact_match", share_of(sum_at(sums, 1), sum_at(sums, 0))}};
  }

 private:
  std::string normalised(std::string_view given) const {
    std::string text = ignored_.remove_from(replace_invalid_utf8(given));
    if (ignore_case_) text = jinja::lower_case(text);
    if (ignore_punctuation_) remove_punctuation(text);
    if (ignore_numbers_) std::erase_if(text, [](char c) { return c >= '0' && c <= '9'; });
    if (as_squad_) text = normalised_as_squad(text);
    return trim_ ? std::string(jinja::strip(text, std::nullopt, true, true)) : text;
  }

  RemovalPattern ignored_;
  bool ignore_case_, ignore_punctuation_, ignore_numbers_, as_squad_, trim_;
};

}  // namespace

std::unique_ptr<Metric> make_exact_match(const OptionValues& options) {
  return std::make_unique<ExactMatch>(options);
}

}  // namespace collie
