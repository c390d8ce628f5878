#include "metrics/rouge_words.hpp"

#include "io/jinja/text.hpp"
#include "metrics/porter_stemmer.hpp"

namespace collie {
namespace {

bool is_word_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

}  // namespace

std::vector<std::string> rouge_words(std::string_view text, bool stem) {
  const std::string lower = jinja::lower_case(text);
  std::vector<std::string> words;
  for (size_t i = 0; i < lower.size();) {
    const size_t begin = i;
    while (i < lower.size() && is_word_letter(lower[i])) ++i;
    if (i > begin) words.push_back(lower.substr(begin, i - begin));
    while (i < lower.size() && !is_word_letter(lower[i])) ++i;
  }
  if (stem)
    for (std::string& word : words)
      if (word.size() > 3) word = porter_stem(word);
  return words;
}

}  // namespace collie
