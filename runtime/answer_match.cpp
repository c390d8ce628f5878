#include "runtime/answer_match.hpp"

#include "io/unicode.hpp"
#include "io/utf8.hpp"

namespace collie {

std::string normalised_answer(std::string_view text) {
  const std::string whole = replace_invalid_utf8(text);
  std::string answer;
  bool space = false;
  for (size_t at = 0; at < whole.size();) {
    const char32_t code_point = next_code_point(whole, at);
    if (is_white_space(code_point)) space = !answer.empty();
    if (is_white_space(code_point) || is_punctuation(code_point)) continue;
    if (space) answer += ' ';
    space = false;
    append_utf8(answer, to_lower(code_point));
  }
  return answer;
}

int64_t option_of_answer(std::string_view text, const std::vector<std::string>& options) {
  const std::string answer = normalised_answer(text);
  int64_t best = -1;
  size_t longest = 0;
  for (size_t i = 0; i < options.size(); ++i) {
    if (options[i].size() <= longest || !answer.starts_with(options[i])) continue;
    longest = options[i].size();
    best = static_cast<int64_t>(i);
  }
  return best;
}

}  // namespace collie
