#include "io/tokenizers/json_tokenizer.hpp"
#include "io/tokenizers/tokenizer_description.hpp"
#include "io/utf8.hpp"

namespace collie {

namespace {

constexpr int32_t bos_id = 256, eos_id = 257;
// They are spelled so that no ordinary text has them: like every special token they are found in a text that
// spells them out.
constexpr const char* bos_token = "<|byte:bos|>";
constexpr const char* eos_token = "<|byte:eos|>";

using Json = nlohmann::ordered_json;

// BPE without merges over GPT-2's stand-ins for bytes. It is described in the `tokenizers` library's own
// terms, so that what is saved is by construction what was used.
Json tokenizer_json() {
  Json vocabulary = Json::object();
  for (int32_t byte = 0; byte < 256; ++byte) {
    std::string character;
    append_utf8(character, byte_characters()[static_cast<size_t>(byte)]);
    vocabulary[character] = byte;
  }
  Json cut = byte_level(false, false);
  cut["trim_offsets"] = false;
  const Json specials = Json::array({added_token(bos_token, bos_id), added_token(eos_token, eos_id)});
  return describe_tokenizer(specials, Json(), cut, around_text(bos_token, "", {{bos_token, bos_id}}), cut,
                            bpe_model(std::move(vocabulary), Json::array(), false));
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
