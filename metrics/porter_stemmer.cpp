#include "metrics/porter_stemmer.hpp"

#include <map>
#include <span>
#include <string_view>

namespace collie {
namespace {

// A y is a consonant at the beginning and after a vowel.
bool is_consonant(std::string_view word, size_t at) {
  if (std::string_view("aeiou").find(word[at]) != std::string_view::npos) return false;
  return word[at] != 'y' || at == 0 || !is_consonant(word, at - 1);
}

// How often a vowel is followed by a consonant.
int measure(std::string_view stem) {
  int changes = 0;
  for (size_t i = 1; i < stem.size(); ++i)
    if (is_consonant(stem, i) && !is_consonant(stem, i - 1)) ++changes;
  return changes;
}

bool has_vowel(std::string_view stem) {
  for (size_t i = 0; i < stem.size(); ++i)
    if (!is_consonant(stem, i)) return true;
  return false;
}

bool ends_in_double_consonant(std::string_view word) {
  const size_t size = word.size();
  return size >= 2 && word[size - 1] == word[size - 2] && is_consonant(word, size - 1);
}

// Consonant, vowel, consonant that is not w, x or y; or a word of a vowel and a consonant.
bool ends_in_short_syllable(std::string_view word) {
  const size_t size = word.size();
  if (size == 2) return !is_consonant(word, 0) && is_consonant(word, 1);
  return size >= 3 && is_consonant(word, size - 3) && !is_consonant(word, size - 2) &&
         is_consonant(word, size - 1) && std::string_view("wxy").find(word.back()) == std::string_view::npos;
}

bool ends_with(std::string_view word, std::string_view ending) {
  return word.size() >= ending.size() && word.substr(word.size() - ending.size()) == ending;
}

std::string without(std::string_view word, std::string_view ending) {
  return std::string(word.substr(0, word.size() - ending.size()));
}

struct EndingRule {
  std::string_view ending, by;
};

// The first rule whose ending the word has decides: its stem must have a measure above `least`.
std::string by_rules(const std::string& word, std::span<const EndingRule> rules, int least) {
  for (const EndingRule& rule : rules) {
    if (!ends_with(word, rule.ending)) continue;
    std::string stem = without(word, rule.ending);
    return measure(stem) > least ? stem.append(rule.by) : word;
  }
  return word;
}

// Plurals.
std::string step_1a(const std::string& word) {
  if (word.size() == 4 && ends_with(word, "ies")) return without(word, "s");
  if (ends_with(word, "sses") || ends_with(word, "ies")) return without(word, "es");
  if (ends_with(word, "ss") || !ends_with(word, "s")) return word;
  return without(word, "s");
}

// What a stem gets when it has lost "ed" or "ing".
std::string mended(const std::string& stem) {
  if (ends_with(stem, "at") || ends_with(stem, "bl") || ends_with(stem, "iz")) return stem + "e";
  if (ends_in_double_consonant(stem)) {
    const bool stays = std::string_view("lsz").find(stem.back()) != std::string_view::npos;
    return stays ? stem : stem.substr(0, stem.size() - 1);
  }
  return measure(stem) == 1 && ends_in_short_syllable(stem) ? stem + "e" : stem;
}

// Past tenses and participles.
std::string step_1b(const std::string& word) {
  if (ends_with(word, "ied")) return without(word, word.size() == 4 ? "d" : "ed");
  if (ends_with(word, "eed")) return measure(without(word, "eed")) > 0 ? without(word, "d") : word;
  for (const std::string_view ending : {"ed", "ing"}) {
    if (!ends_with(word, ending)) continue;
    const std::string stem = without(word, ending);
    if (has_vowel(stem)) return mended(stem);
  }
  return word;
}

std::string step_1c(const std::string& word) {
  if (!ends_with(word, "y")) return word;
  const std::string stem = without(word, "y");
  return stem.size() > 1 && is_consonant(stem, stem.size() - 1) ? stem + "i" : word;
}

std::string step_2(const std::string& word) {
  static constexpr EndingRule rules[] = {
      {"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"}, {"anci", "ance"}, {"izer", "ize"},
      {"bli", "ble"},     {"alli", "al"},     {"entli", "ent"}, {"eli", "e"},     {"ousli", "ous"},
      {"ization", "ize"}, {"ation", "ate"},   {"ator", "ate"},  {"alism", "al"},  {"iveness", "ive"},
      {"fulness", "ful"}, {"ousness", "ous"}, {"aliti", "al"},  {"iviti", "ive"}, {"biliti", "ble"},
      {"fulli", "ful"}};
  if (ends_with(word, "alli") && measure(without(word, "alli")) > 0) return step_2(without(word, "li"));
  // The measure is of the word without "ogi": "l" counts as of the stem.
  if (ends_with(word, "logi")) return measure(without(word, "ogi")) > 0 ? without(word, "i") : word;
  return by_rules(word, rules, 0);
}

std::string step_3(const std::string& word) {
  static constexpr EndingRule rules[] = {{"icate", "ic"}, {"ative", ""}, {"alize", "al"}, {"iciti", "ic"},
                                         {"ical", "ic"},  {"ful", ""},   {"ness", ""}};
  return by_rules(word, rules, 0);
}

std::string step_4(const std::string& word) {
  static constexpr EndingRule before_ion[] = {
      {"al", ""},   {"ance", ""}, {"ence", ""},  {"er", ""},   {"ic", ""},  {"able", ""},
      {"ible", ""}, {"ant", ""},  {"ement", ""}, {"ment", ""}, {"ent", ""}, {"ou", ""},
      {"ism", ""},  {"ate", ""},  {"iti", ""},   {"ous", ""},  {"ive", ""}, {"ize", ""}};
  if (!ends_with(word, "ion")) return by_rules(word, before_ion, 1);
  const std::string stem = without(word, "ion");
  const bool after_s_or_t = ends_with(stem, "s") || ends_with(stem, "t");
  return after_s_or_t && measure(stem) > 1 ? stem : word;
}

std::string step_5(const std::string& given) {
  std::string word = given;
  if (ends_with(word, "e")) {
    const std::string stem = without(word, "e");
    const int changes = measure(stem);
    if (changes > 1 || (changes == 1 && !ends_in_short_syllable(stem))) word = stem;
  }
  return ends_with(word, "ll") && measure(without(word, "l")) > 1 ? without(word, "l") : word;
}

// Words that NLTK does not leave to the rules.
const std::map<std::string, std::string>& irregular_words() {
  static const std::map<std::string, std::string> words = {
      {"sky", "sky"},        {"skies", "sky"},       {"dying", "die"},        {"lying", "lie"},
      {"tying", "tie"},      {"news", "news"},       {"innings", "inning"},   {"inning", "inning"},
      {"outings", "outing"}, {"outing", "outing"},   {"cannings", "canning"}, {"canning", "canning"},
      {"howe", "howe"},      {"proceed", "proceed"}, {"exceed", "exceed"},    {"succeed", "succeed"}};
  return words;
}

}  // namespace

std::string porter_stem(const std::string& word) {
  if (const auto found = irregular_words().find(word); found != irregular_words().end()) return found->second;
  if (word.size() <= 2) return word;
  return step_5(step_4(step_3(step_2(step_1c(step_1b(step_1a(word)))))));
}

}  // namespace collie
