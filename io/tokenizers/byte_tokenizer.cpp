#include "io/tokenizers/json_tokenizer.hpp"
#include "io/utf8.hpp"

namespace collie {

namespace {

constexpr int32_t bos_id = 256, eos_id = 257;
// They are spelled so that no ordinary text has them: like every special token they are found in a text that
// spells them out.
constexpr const char* bos_token = "<|byte:bos|>";
constexpr const char* eos_token = "<|byte:eos|>";

using Json = nlohmann::ordered_json;

Json special_token(int32_t id, const char* content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

// BPE without merges over GPT-2's stand-ins for bytes. It is described in the `tokenizers` library's own
// terms, so that what is saved is by construction what was used.
Json tokenizer_json() {
  Json vocabulary = Json::object();
  for (int32_t byte = 0; byte < 256; ++byte) {
    std::string character;
    append_utf8(character, byte_characters()[static_cast<size_t>(byte)]);
    vocabulary[character] = byte;
  }
  const Json bos = {{"SpecialToken", {{"id", bos_token}, {"type_id", 0}}}};
  const Json text_a = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const Json text_b = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
  const Json bos_b = {{"SpecialToken", {{"id", bos_token}, {"type_id", 1}}}};
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  return {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", Json::array({special_token(bos_id, bos_token), special_token(eos_id, eos_token)})},
      {"normalizer", nullptr},
      {"pre_tokenizer", byte_level},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", Json::array({bos, text_a})},
        {"pair", Json::array({bos, text_a, bos_b, text_b})},
        {"special_tokens",
         {{bos_token,
           {{"id", bos_token}, {"ids", Json::array({bos_id})}, {"tokens", Json::array({bos_token})}}}}}}},
      {"decoder", byte_level},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", false},
        {"vocab", vocabulary},
        {"merges", Json::array()}}},
  };
}

Json tokenizer_config_json() {
  return {{"tokenizer_class", "PreTrainedTokenizerFast"},
          {"bos_token", bos_token},
          {"eos_token", eos_token},
          {"add_bos_token", true},
          {"add_eos_token", false},
          {"clean_up_tokenization_spaces", false}};
}

}  // namespace

std::shared_ptr<const Tokenizer> byte_tokenizer() {
  static const auto tokenizer = std::make_shared<const JsonTokenizer>(
      TokenizerFiles{{"tokenizer.json", tokenizer_json().dump(1) + "\n"},
                     {"tokenizer_config.json", tokenizer_config_json().dump(1) + "\n"}},
      "byte tokenizer");
  return tokenizer;
}

}  // namespace collie
