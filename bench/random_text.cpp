#include "bench/random_text.hpp"

#include <nlohmann/json.hpp>

#include "base/random.hpp"
#include "io/files.hpp"
#include "io/utf8.hpp"

namespace collie::bench {

namespace {

constexpr const char* end_of_text = "<|end|>";

// The characters begin at U+0100 and leave out the surrogates, which no text has.
std::string character(int64_t id) {
  constexpr int64_t first = 0x100, surrogates = 0xD800, after_surrogates = 0xE000;
  int64_t code_point = first + id;
  if (code_point >= surrogates) code_point += after_surrogates - surrogates;
  std::string text;
  append_utf8(text, static_cast<char32_t>(code_point));
  return text;
}

}  // namespace

void write_character_tokenizer(const std::string& folder, int64_t vocabulary) {
  nlohmann::json tokens = nlohmann::json::object();
  for (int64_t id = 0; id + 1 < vocabulary; ++id) tokens[character(id)] = id;
  tokens[end_of_text] = vocabulary - 1;
  const nlohmann::json end = {{"id", vocabulary - 1}, {"content", end_of_text}, {"single_word", false},
                              {"lstrip", false},      {"rstrip", false},        {"normalized", false},
                              {"special", true}};
  const nlohmann::json tokenizer = {
      {"version", "1.0"},
      {"added_tokens", {end}},
      {"normalizer", nullptr},
      {"pre_tokenizer", nullptr},
      {"post_processor", nullptr},
      {"decoder", nullptr},
      {"model", {{"type", "BPE"}, {"vocab", tokens}, {"merges", nlohmann::json::array()}}}};
  write_file_durably(folder + "/tokenizer.json", tokenizer.dump());
  write_file_durably(folder + "/tokenizer_config.json", nlohmann::json{{"eos_token", end_of_text}}.dump());
}

void write_random_text(const std::string& file, int64_t vocabulary, int64_t tokens, uint64_t seed) {
  const RandomStream stream(seed);
  std::string text;
  for (int64_t i = 0; i < tokens; ++i)
    text += character(
        static_cast<int64_t>(stream.below(static_cast<uint64_t>(vocabulary - 1), static_cast<uint64_t>(i))));
  write_file_durably(file, text);
}

}  // namespace collie::bench
