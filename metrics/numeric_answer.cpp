// Whether a text has the right number, as in GSM8K (Cobbe et al., arXiv 2110.14168): extracted and compared
// as lm-evaluation-harness' task gsm8k does it.
#include <algorithm>
#include <charconv>
#include <optional>

#include "metrics/built_in.hpp"
#include "metrics/share.hpp"

namespace collie {
namespace {

constexpr std::string_view answer_sign = "#### ";

bool is_ascii_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_of_amount(char c) {
  return is_ascii_digit(c) || c == '.' || c == ',' || c == '$';
}

bool is_of_strict_number(char c) {
  return is_ascii_digit(c) || c == '.' || c == ',';
}

// Where the characters that `belongs` takes end, from `begin`.
size_t end_of(std::string_view text, size_t begin, bool (*belongs)(char)) {
  while (begin < text.size() && belongs(text[begin])) ++begin;
  return begin;
}

// The end of a number that begins at `begin`: two or more characters of an amount or one or more digits,
// behind a minus or not. `begin` if there is none.
size_t end_of_flexible_number(std::string_view text, size_t begin) {
  const size_t from = begin + (text[begin] == '-' ? 1 : 0);
  if (const size_t end = end_of(text, from, is_of_amount); end >= from + 2) return end;
  const size_t end = end_of(text, from, is_ascii_digit);
  return end > from ? end : begin;
}

// The last number of a text.
std::optional<std::string_view> flexible_number(std::string_view text) {
  std::optional<std::string_view> last;
  for (size_t at = 0; at < text.size();) {
    const size_t end = end_of_flexible_number(text, at);
    if (end > at) last = text.substr(at, end - at);
    at = std::max(end, at + 1);
  }
  return last;
}

// The first number behind "#### ".
std::optional<std::string_view> strict_number(std::string_view text) {
  for (size_t at = text.find(answer_sign); at != std::string_view::npos;
       at = text.find(answer_sign, at + 1)) {
    const size_t begin = at + answer_sign.size();
    const size_t from = begin + (begin < text.size() && text[begin] == '-' ? 1 : 0);
    const size_t end = end_of(text, from, is_of_strict_number);
    if (end > from) return text.substr(begin, end - begin);
  }
  return std::nullopt;
}

// What comes after the last "#### ", without commas, dollars, white space at the ends and a last point.
std::string bare_number(std::string_view given) {
  if (const size_t sign = given.rfind(answer_sign); sign != std::string_view::npos)
    given.remove_prefix(sign + answer_sign.size());
  std::string number(given);
  std::erase_if(number, [](char c) { return c == ',' || c == '$'; });
  const char* const spaces = " \t\n\v\f\r";
  number.erase(0, std::min(number.find_first_not_of(spaces), number.size()));
  number.erase(number.find_last_not_of(spaces) + 1);
  if (!number.empty() && number.back() == '.') number.pop_back();
  return number;
}

std::optional<double> value_of_number(const std::string& number) {
  double value = 0;
  const char* const end = number.data() + number.size();
  const auto [read, error] = std::from_chars(number.data(), end, value);
  return error == std::errc() && read == end ? std::optional(value) : std::nullopt;
}

class NumericAnswer : public Metric {
 public:
  explicit NumericAnswer(const OptionValues& options)
      : strict_(options.text("extraction") == "strict"), by_value_(options.text("compare") == "value") {}

  MetricSums of_text(const TextSample& sample) const override {
    const auto found = strict_ ? strict_number(sample.text) : flexible_number(sample.text);
    if (!found) return {1, 0};
    const std::string number = bare_number(*found);
    for (const std::string& reference : sample.references)
      if (is_same(number, bare_number(reference))) return {1, 1};
    return {1, 0};
  }

  std::vector<NamedNumber> result(const MetricSums& sums) const override {
    return {{"numeric_answer", share_of(sum_at(sums, 1), sum_at(sums, 0))}};
  }

 private:
  bool is_same(const std::string& number, const std::string& reference) const {
    if (!by_value_) return number == reference;
    const auto value = value_of_number(number), wanted = value_of_number(reference);
    return value && wanted && *value == *wanted;
  }

  bool strict_, by_value_;
};

}  // namespace

std::unique_ptr<Metric> make_numeric_answer(const OptionValues& options) {
  return std::make_unique<NumericAnswer>(options);
}

}  // namespace collie
