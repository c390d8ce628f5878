#include "tests/hostile/mutate.hpp"

#include <algorithm>
#include <vector>

#include "base/random.hpp"

namespace collie::test {

namespace {

using namespace std::string_literals;

const std::vector<std::string>& nasty_words() {
  static const std::vector<std::string> words = {"null",
                                                 "true",
                                                 "\"\"",
                                                 "\"x\"",
                                                 "[]",
                                                 "{}",
                                                 "[[]]",
                                                 "{\"a\":1,\"a\":1}",
                                                 "-1",
                                                 "0",
                                                 "1e3",
                                                 "1e999",
                                                 "-1e999",
                                                 "NaN",
                                                 ".nan",
                                                 ".inf",
                                                 "-.inf",
                                                 "Infinity",
                                                 "1099511627776",
                                                 "2147483648",
                                                 "4294967296",
                                                 "9223372036854775807",
                                                 "9223372036854775808",
                                                 "18446744073709551616",
                                                 "123456789012345678901234567890",
                                                 "0.5",
                                                 "-0.0",
                                                 "1e-400",
                                                 "\0"s,
                                                 "\xff",
                                                 "\xc3",
                                                 "\xed\xa0\x80",
                                                 "\xEF\xBB\xBF",
                                                 "\xE2\x80\xA8",
                                                 "\\u0000",
                                                 "\\ud800",
                                                 "\r\n",
                                                 "\n",
                                                 "\t",
                                                 "\x04",
                                                 "\x1b[31m",
                                                 "\x7f",
                                                 "\"",
                                                 "'",
                                                 "\\",
                                                 ",",
                                                 ":",
                                                 ": ",
                                                 "- ",
                                                 "? ",
                                                 "&a ",
                                                 "*a",
                                                 "<<: *a\n",
                                                 "!!str ",
                                                 "!!binary ",
                                                 "!x ",
                                                 "|\n",
                                                 ">-\n",
                                                 "---\n",
                                                 "...\n",
                                                 "%YAML 1.1\n",
                                                 "#",
                                                 "@",
                                                 "`",
                                                 "{a: *a}",
                                                 "&a [*a,*a]",
                                                 "yes",
                                                 "on",
                                                 "~",
                                                 "../",
                                                 "/dev/zero",
                                                 "/",
                                                 "**",
                                                 std::string(5000, 'a'),
                                                 std::string(5000, '9'),
                                                 std::string(3000, ' '),
                                                 "é",
                                                 "日本",
                                                 "😀",
                                                 ",,,,",
                                                 "0F0",
                                                 "0B0",
                                                 "0F1000000000",
                                                 "99999999999F0",
                                                 "OVERLAP_F_B",
                                                 "(0F0;0B0)OVERLAP_F_B"};
  return words;
}

// Draws one number after the other.
class Dice {
 public:
  explicit Dice(uint64_t seed) : stream_(random_key(seed, "mutation")) {}
  size_t below(size_t bound) { return bound == 0 ? 0 : stream_.below(bound, index_++); }

 private:
  RandomStream stream_;
  uint64_t index_ = 0;
};

struct Range {
  size_t begin, size;
};

Range some_range(Dice& dice, const std::string& text) {
  const size_t begin = dice.below(text.size() + 1);
  const size_t longest = std::min(text.size() - begin, size_t{1} << (1 + dice.below(12)));
  return {begin, dice.below(longest + 1)};
}

// The run of digits at or after a place that is drawn.
Range some_number(Dice& dice, const std::string& text) {
  constexpr const char* digits = "0123456789";
  size_t begin = text.find_first_of(digits, dice.below(text.size() + 1));
  if (begin == std::string::npos) begin = text.find_first_of(digits);
  if (begin == std::string::npos) return {text.size(), 0};
  return {begin, std::min(text.find_first_not_of(digits, begin), text.size()) - begin};
}

std::string nesting(Dice& dice) {
  static const std::vector<std::string> openings = {"[",  "{",       "{\"a\":", "[{\"a\":", "- ",
                                                    "? ", "a: {b: ", "(",       "[[[["};
  const std::string& opening = openings[dice.below(openings.size())];
  const size_t depth = size_t{10} << dice.below(14);
  std::string text;
  for (size_t i = 0; i < depth; ++i) text += opening;
  if (dice.below(2) == 0) return text;
  for (size_t i = 0; i < depth; ++i) text += opening.front() == '[' ? "]" : "}";
  return text;
}

std::string repeated(const std::string& text, size_t times) {
  std::string all;
  for (size_t i = 0; i < times; ++i) all += text;
  return all;
}

void change_once(std::string& text, Dice& dice) {
  const auto word = [&] { return nasty_words()[dice.below(nasty_words().size())]; };
  const Range range = some_range(dice, text), number = some_number(dice, text);
  switch (dice.below(11)) {
    case 0:
      if (!text.empty()) text[dice.below(text.size())] ^= static_cast<char>(1 << dice.below(8));
      break;
    case 1:
      if (!text.empty()) text[dice.below(text.size())] = static_cast<char>(dice.below(256));
      break;
    case 2:
      text.resize(dice.below(text.size() + 1));
      break;
    case 3:
      text.erase(range.begin, range.size);
      break;
    case 4:
      text.insert(dice.below(text.size() + 1),
                  repeated(text.substr(range.begin, range.size), 1 + dice.below(4)));
      break;
    case 5: {
      const std::string part = text.substr(range.begin, range.size);
      text.erase(range.begin, range.size);
      text.insert(dice.below(text.size() + 1), part);
      break;
    }
    case 6:
      text.insert(range.begin, word());
      break;
    case 7:
      text.replace(range.begin, range.size, word());
      break;
    case 8:
    case 9:
      text.replace(number.begin, number.size, word());
      break;
    default:
      text.insert(dice.below(2) == 0 ? number.begin : range.begin, nesting(dice));
  }
}

}  // namespace

std::string mutated(const std::string& text, uint64_t seed) {
  Dice dice(seed);
  std::string result = text;
  for (size_t left = 1 + dice.below(4); left > 0; --left) change_once(result, dice);
  return result;
}

}  // namespace collie::test
