// Tokenizers from other files than tokenizer.json. tests/golden/make_tokenizer_components.py made the
// goldens.
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "io/base64.hpp"
#include "io/files.hpp"
#include "io/tokenizer.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/paths.hpp"

using namespace collie;
using collie::test::contains;
using collie::test::TemporaryFolder;
using nlohmann::json;

namespace {

const json& components() {
  static const json parsed = json::parse(
      read_text_file((test::source_folder() / "tests/golden/tokenizer_components.json").string()));
  return parsed;
}

const json& component(const std::string& name) {
  return components()["tokenizers"][name];
}

std::string encode_base64(std::string_view bytes) {
  static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k)
      bits = (bits << 8) | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) text += i + k <= bytes.size() ? digits[(bits >> (18 - 6 * k)) & 63u] : '=';
  }
  return text;
}

void check_same_ids(const Tokenizer& tokenizer, const std::string& name) {
  for (size_t i = 0; i < components()["texts"].size(); ++i) {
    const auto text = components()["texts"][i].get<std::string>();
    if (text.find('[') != std::string::npos) continue;  // the golden has added tokens that older files lack
    CAPTURE(name, components()["texts"][i].dump());
    CHECK(tokenizer.encode(text, true) == component(name)["results"][i][0].get<std::vector<int32_t>>());
  }
}

std::string merges_txt(const json& model) {
  std::string text = "#version: 0.2\n";
  for (const auto& merge : model["merges"])
    text += merge[0].get<std::string>() + " " + merge[1].get<std::string>() + "\n";
  return text;
}

std::string refusal_of_tokenizer(const TemporaryFolder& folder) {
  try {
    load_tokenizer(folder.path(), "auto");
  } catch (const UserError& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("a SentencePiece model gives the ids, starts and texts of libsentencepiece") {
  for (const auto& [name, entry] : components()["sentencepiece"].items()) {
    const TemporaryFolder folder;
    const auto bytes = decode_base64(entry["model"].get<std::string>());
    REQUIRE(bytes);
    folder.write("tokenizer.model", *bytes);
    const auto tokenizer = load_tokenizer(folder.path(), "auto");
    CHECK(tokenizer->bos() == 1);
    CHECK(tokenizer->eos() == 2);
    CHECK_FALSE(tokenizer->adds_bos());
    for (const auto& result : entry["results"]) {
      CAPTURE(name, result[0].dump());
      const Encoding encoding = tokenizer->encode_with_starts(result[0].get<std::string>());
      CHECK(encoding.ids == result[1].get<std::vector<int32_t>>());
      CHECK(encoding.starts == result[2].get<std::vector<size_t>>());
      // libsentencepiece takes several spaces off the front where unknown pieces are left out of a text.
      if (encoding.ids.empty() || encoding.ids.front() > 3)
        CHECK(tokenizer->decode(encoding.ids) == result[3].get<std::string>());
    }
  }
}

TEST_CASE("special tokens around and in a text of a SentencePiece model are found, and saved with it") {
  const auto load = [](const std::string& config) {
    const TemporaryFolder folder;
    folder.write("tokenizer.model",
                 *decode_base64(components()["sentencepiece"]["bpe"]["model"].get<std::string>()));
    folder.write("tokenizer_config.json", config);
    return load_tokenizer(folder.path(), "auto");
  };
  const auto plain = load("{}");
  const auto both = load(R"({"add_bos_token": true, "add_eos_token": true})");
  CHECK(both->adds_bos());
  auto ids = plain->encode("the ships", false);
  CHECK(plain->encode("the ships", true) == ids);
  ids.insert(ids.begin(), 1);
  ids.push_back(2);
  CHECK(both->encode("the ships", true) == ids);
  CHECK(plain->encode("<s>the ships</s>", true) == ids);
  CHECK(both->fingerprint() != plain->fingerprint());

  // Behind a special token a text begins with a space, unless "legacy" is false.
  const auto id = plain->vocab_size();
  const std::string added = R"("added_tokens_decoder": {")" + std::to_string(id) +
                            R"(": {"content": "<x>", "special": true, "lstrip": false}})";
  const auto older = load("{" + added + "}"), newer = load("{\"legacy\": false, " + added + "}");
  CHECK(older->vocab_size() == id + 1);
  CHECK(older->decode(older->encode("the<x>night", false)) == "the night");
  CHECK(newer->decode(newer->encode("the<x>night", false)) == "thenight");
  CHECK(load(R"({"tokenizer_class": "LlamaTokenizer"})")->decode(plain->encode("a", false)) == "a");

  const TemporaryFolder to;
  older->save_to(to.path());
  const auto again = load_tokenizer(to.path(), "auto");
  CHECK(again->encode("a<x> b", true) == older->encode("a<x> b", true));
  CHECK(again->fingerprint() == older->fingerprint());
}

TEST_CASE("vocab.json with merges.txt is read as GPT-2's and Qwen2's tokenizers read it") {
  const json& model = component("gpt2")["tokenizer"]["model"];
  const TemporaryFolder folder;
  json vocabulary = model["vocab"];
  folder.write("vocab.json", vocabulary.dump());
  folder.write("merges.txt", merges_txt(model));
  check_same_ids(*load_tokenizer(folder.path(), "auto"), "gpt2");
  // What is saved gives the same.
  const TemporaryFolder to;
  load_tokenizer(folder.path(), "auto")->save_to(to.path());
  check_same_ids(*load_tokenizer(to.path(), "auto"), "gpt2");

  // Qwen2's splits digits and does not split "x'a" as GPT-2's does.
  folder.write("tokenizer_config.json", R"({"tokenizer_class": "Qwen2TokenizerFast", "add_bos_token": true,
    "bos_token": "<|end|>", "eos_token": "<|end|>"})");
  const auto qwen = load_tokenizer(folder.path(), "auto");
  CHECK(qwen->encode("12", false).size() == 2);
  CHECK(qwen->encode("e\xCC\x81", false) == qwen->encode("\xC3\xA9", false));
  CHECK(qwen->adds_bos());
  CHECK(qwen->encode("<|end|>", false) == std::vector<int32_t>{*qwen->eos()});

  folder.write("tokenizer_config.json", R"({"tokenizer_class": "CLIPTokenizer"})");
  CHECK_THAT(refusal_of_tokenizer(folder),
             contains("tokenizer_config.json: tokenizer_class: 'CLIPTokenizer' reads vocab.json"));
}

TEST_CASE("vocab.txt is read as BertTokenizer reads it") {
  const json& model = component("bert")["tokenizer"]["model"];
  std::vector<std::string> tokens(model["vocab"].size());
  for (const auto& [token, id] : model["vocab"].items()) tokens[id.get<size_t>()] = token;
  std::string lines;
  for (const auto& token : tokens) lines += token + "\n";
  const TemporaryFolder folder;
  folder.write("vocab.txt", lines);
  check_same_ids(*load_tokenizer(folder.path(), "auto"), "bert");
  folder.write("vocab.txt", "[UNK]\n[CLS]\n");
  CHECK_THAT(refusal_of_tokenizer(folder),
             contains("vocab.txt: it has no '[SEP]', which BertTokenizer needs"));
  folder.write("tokenizer_config.json", R"({"tokenizer_class": "XLNetTokenizer"})");
  CHECK_THAT(refusal_of_tokenizer(folder), contains("'XLNetTokenizer' reads vocab.txt in a way of its own"));
}

TEST_CASE("a file of tiktoken's ranks gives the ids of the tokenizer.json with the same merges") {
  const json& model = component("gpt4")["tokenizer"]["model"];
  const TemporaryFolder byte_folder;  // its tokens are the bytes' stand-ins
  byte_tokenizer()->save_to(byte_folder.path());
  const json bytes = json::parse(read_text_file((byte_folder / "tokenizer.json").string()))["model"]["vocab"];
  std::map<std::string, char> byte_of;
  for (const auto& [character, byte] : bytes.items()) byte_of[character] = static_cast<char>(byte.get<int>());
  std::string lines;
  for (const auto& [token, id] : model["vocab"].items()) {
    if (token == "<|end|>") continue;
    std::string spelled;
    for (size_t from = 0, to; from < token.size(); from = to) {
      to = from + (static_cast<unsigned char>(token[from]) < 0x80 ? 1 : 2);
      spelled += byte_of.at(token.substr(from, to - from));
    }
    lines += encode_base64(spelled) + " " + std::to_string(id.get<int>()) + "\n";
  }
  for (const char* name : {"tokenizer.model", "some.tiktoken"}) {
    const TemporaryFolder folder;
    folder.write(name, lines);
    check_same_ids(*load_tokenizer(folder.path(), "auto"), "gpt4");
  }
  const TemporaryFolder broken;
  broken.write("some.tiktoken", "IQ== 0\nIg==\n");
  CHECK_THAT(refusal_of_tokenizer(broken),
             contains("some.tiktoken:2: found 'Ig=='; a token in base64, a space and its rank"));
  broken.write("some.tiktoken", "IQ== 0\nIQ== 1\n");
  CHECK_THAT(refusal_of_tokenizer(broken), contains("some.tiktoken:2: this token is there twice"));
  broken.write("other.tiktoken", "IQ== 0\n");
  CHECK_THAT(refusal_of_tokenizer(broken), contains("it has 2 files *.tiktoken"));
}

TEST_CASE("a tokenizer.model that is no model is refused with its name") {
  const TemporaryFolder folder;
  const auto file = folder.write("tokenizer.model", std::string("\x0A\xFF\xFF\xFF\x0F", 5));
  CHECK_THAT(refusal_of_tokenizer(folder),
             contains(file.string() + ": it is no model of SentencePiece: its fields are damaged"));
  folder.write("tokenizer.model", "");
  CHECK_THAT(refusal_of_tokenizer(folder), contains(file.string() + ": libsentencepiece cannot read it"));
}

TEST_CASE("base64 is decoded, and what is none is refused") {
  CHECK(decode_base64("") == "");
  CHECK(decode_base64("QQ==") == "A");
  CHECK(decode_base64("QUI=") == "AB");
  CHECK(decode_base64("QUI") == "AB");
  CHECK(decode_base64("QUJD") == "ABC");
  CHECK_FALSE(decode_base64("Q"));
  CHECK_FALSE(decode_base64("Q!=="));
  CHECK_FALSE(decode_base64("QQ==QQ=="));
}
