// Ids and texts against Hugging Face's `tokenizers`: tests/golden/make_tokenizer_golden.py made the goldens.
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
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

const std::filesystem::path golden_folder = test::source_folder() / "tests/golden";

const json& golden() {
  static const json parsed = json::parse(read_text_file((golden_folder / "tokenizer_golden.json").string()));
  return parsed;
}

json tiny() {
  return json::parse(read_text_file((golden_folder / "tokenizer_tiny/tokenizer.json").string()));
}

// Each result: [ids with special tokens, how many of them are in front, the text they decode to].
void check_results(const Tokenizer& tokenizer, const json& texts, const json& results) {
  REQUIRE(texts.size() == results.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto text = texts[i].get<std::string>();
    CAPTURE(texts[i].dump());
    const auto expected = results[i][0].get<std::vector<int32_t>>();
    const auto ids = tokenizer.encode(text, true);
    CHECK(ids == expected);
    const auto front = results[i][1].get<std::ptrdiff_t>();
    CHECK(tokenizer.encode(text, false) == std::vector<int32_t>(expected.begin() + front, expected.end()));
    CHECK(tokenizer.decode(expected) == results[i][2].get<std::string>());
  }
}

void check_decoding(const Tokenizer& tokenizer, const json& results) {
  for (const auto& result : results) {
    CAPTURE(result.dump());
    CHECK(tokenizer.decode(result[0].get<std::vector<int32_t>>()) == result[1].get<std::string>());
  }
}

}  // namespace

TEST_CASE("a SentencePiece-style BPE gives the ids and texts of the tokenizers library") {
  const auto tokenizer = load_tokenizer(golden_folder / "tokenizer_tiny", "auto");
  CHECK(tokenizer->vocab_size() == static_cast<int64_t>(tiny()["model"]["vocab"].size()));
  check_results(*tokenizer, golden()["texts"], golden()["plain"]);
  check_decoding(*tokenizer, golden()["decoding"]);
}

TEST_CASE("every supported component gives the ids and texts of the tokenizers library") {
  for (const auto& [name, variant] : golden()["variants"].items()) {
    CAPTURE(name);
    json description = tiny();
    description.merge_patch(variant["patch"]);
    const TemporaryFolder folder;
    folder.write("tokenizer.json", description.dump());
    check_results(*load_tokenizer(folder.path(), "auto"), golden()["short_texts"], variant["results"]);
  }
}

TEST_CASE("every model and component gives the ids, starts and texts of the tokenizers library") {
  const json all = json::parse(read_text_file((golden_folder / "tokenizer_components.json").string()));
  for (const auto& [name, entry] : all["tokenizers"].items()) {
    const TemporaryFolder folder;
    folder.write("tokenizer.json", entry["tokenizer"].dump());
    const auto tokenizer = load_tokenizer(folder.path(), "auto");
    const json& results = entry["results"];
    REQUIRE(results.size() == all["texts"].size());
    for (size_t i = 0; i < results.size(); ++i) {
      const auto text = all["texts"][i].get<std::string>();
      CAPTURE(name, all["texts"][i].dump());
      const auto expected = results[i][0].get<std::vector<int32_t>>();
      CHECK(tokenizer->encode(text, true) == expected);
      CHECK(tokenizer->decode(expected) == results[i][2].get<std::string>());
      const Encoding bare = tokenizer->encode_with_starts(text);
      CHECK(bare.ids == tokenizer->encode(text, false));
      if (!results[i][1].is_null()) CHECK(bare.starts == results[i][1].get<std::vector<size_t>>());
    }
  }
}

TEST_CASE("a token begins where the characters that it was made of do") {
  const auto load = [](const json& patch) {
    json description = tiny();
    description.merge_patch(patch);
    const TemporaryFolder folder;
    folder.write("tokenizer.json", description.dump());
    return load_tokenizer(folder.path(), "auto");
  };
  const auto starts = [](const Tokenizer& tokenizer, const std::string& text) {
    std::vector<std::string> tokens;
    const Encoding encoding = tokenizer.encode_with_starts(text);
    for (size_t i = 0; i < encoding.ids.size(); ++i)
      tokens.push_back(tokenizer.decode({{encoding.ids[i]}}) + "@" + std::to_string(encoding.starts[i]));
    return tokens;
  };
  // The prefix that the normalizer adds belongs to the first character, and a mark to the space that it
  // replaces.
  CHECK(starts(*load(json::object()), "the ship") == std::vector<std::string>{"the@0", "s@3", "hi@5", "p@7"});
  // Two spaces and an accent that NFC joins: three bytes of input become two.
  const auto composed = load({{"normalizer", {{"type", "NFC"}, {"normalizers", nullptr}}}});
  CHECK(composed->encode_with_starts("  e\xCC\x81 a").starts.back() == 6);
  CHECK(composed->encode_with_starts("<s>ab").starts == std::vector<size_t>{0, 3, 4});
}

TEST_CASE("the tokenizer of stories260K gives the ids and texts of the tokenizers library") {
  const auto folder = test::shared_data("stories260K");
  if (!std::filesystem::exists(folder)) {
    WARN(folder << " is absent: skipped");
    return;
  }
  const auto tokenizer = load_tokenizer(folder, "auto");
  CHECK(tokenizer->vocab_size() == 512);
  CHECK(tokenizer->bos() == 1);
  CHECK(tokenizer->eos() == 2);
  CHECK(tokenizer->adds_bos());
  check_results(*tokenizer, golden()["texts"], golden()["stories"]);
}

TEST_CASE("the byte tokenizer's ids are the bytes, and the saved tokenizer.json gives the same ids") {
  const auto tokenizer = load_tokenizer("no such folder", "byte");
  CHECK(tokenizer->vocab_size() == 258);
  CHECK(tokenizer->bos() == 256);
  CHECK(tokenizer->eos() == 257);
  CHECK(tokenizer->adds_bos());
  for (const auto& each : golden()["texts"]) {
    const auto text = each.get<std::string>();
    CAPTURE(each.dump());
    std::vector<int32_t> expected;
    for (const unsigned char byte : text) expected.push_back(byte);
    CHECK(tokenizer->encode(text, false) == expected);
    CHECK(tokenizer->decode(expected) == text);
    expected.insert(expected.begin(), 256);
    CHECK(tokenizer->encode(text, true) == expected);
  }
  // What the library made of the golden file is what this tokenizer does, and the golden file is what it
  // saves.
  check_results(*tokenizer, golden()["short_texts"], golden()["byte"]["results"]);
  check_decoding(*tokenizer, golden()["byte"]["decoding"]);
  const TemporaryFolder folder;
  tokenizer->save_to(folder.path());
  for (const std::string name : {"tokenizer.json", "tokenizer_config.json"}) {
    INFO("a wanted change: run test_io \"[.regenerate]\", then tests/golden/make_tokenizer_golden.py");
    CHECK(read_text_file((folder / name).string()) ==
          read_text_file((golden_folder / "byte_tokenizer" / name).string()));
  }
  const auto again = load_tokenizer(folder.path(), "auto");
  check_results(*again, golden()["short_texts"], golden()["byte"]["results"]);
  CHECK(again->vocab_size() == 258);
  CHECK(again->bos() == 256);
  CHECK(again->eos() == 257);
  CHECK(again->fingerprint() == tokenizer->fingerprint());
}

TEST_CASE("writes the byte tokenizer's goldens", "[.regenerate]") {
  std::filesystem::create_directories(golden_folder / "byte_tokenizer");
  byte_tokenizer()->save_to(golden_folder / "byte_tokenizer");
}

TEST_CASE("a loaded tokenizer is saved as it was, even when its folder has gone") {
  const std::string description = tiny().dump(3);
  const TemporaryFolder to;
  std::shared_ptr<const Tokenizer> tokenizer;
  {
    const TemporaryFolder from;
    from.write("tokenizer.json", description);
    from.write("tokenizer_config.json", R"({"eos_token": "</s>"})");
    from.write("special_tokens_map.json", R"({"bos_token": {"content": "<s>"}})");
    from.write("config.json", R"({"hidden_size": 1})");
    tokenizer = load_tokenizer(from.path(), "auto");
  }
  tokenizer->save_to(to.path());
  CHECK(read_text_file((to / "tokenizer.json").string()) == description);
  CHECK(read_text_file((to / "tokenizer_config.json").string()) == R"({"eos_token": "</s>"})");
  CHECK(std::filesystem::exists(to / "special_tokens_map.json"));
  CHECK_FALSE(std::filesystem::exists(to / "config.json"));
  CHECK(tokenizer->bos() == 1);
  CHECK(tokenizer->eos() == 2);
}

TEST_CASE("BOS and EOS come from the tokenizer's settings, then from the model's") {
  const auto load = [](const std::map<std::string, std::string>& files) {
    const TemporaryFolder folder;
    folder.write("tokenizer.json", tiny().dump());
    for (const auto& [name, content] : files) folder.write(name, content);
    return load_tokenizer(folder.path(), "auto");
  };
  const auto bare = load({});
  CHECK_FALSE(bare->bos());
  CHECK_FALSE(bare->eos());
  CHECK_FALSE(bare->adds_bos());  // there is a first token, but it is not known to be BOS
  CHECK(bare->encode("", true) == std::vector<int32_t>{1});

  const auto from_model = load({{"config.json", R"({"bos_token_id": 1, "eos_token_id": [2, 0]})"}});
  CHECK(from_model->bos() == 1);
  CHECK(from_model->eos() == 2);
  CHECK(from_model->adds_bos());

  const auto first = load(
      {{"config.json", R"({"eos_token_id": 0})"}, {"tokenizer_config.json", R"({"eos_token": "</s>"})"}});
  CHECK(first->eos() == 2);

  // As in transformers 5, tokenizer.json alone decides what is added.
  const auto contradicted = load(
      {{"tokenizer_config.json", R"({"add_bos_token": false, "add_eos_token": true, "bos_token": "<s>"})"}});
  CHECK(contradicted->adds_bos());
  CHECK(contradicted->encode("", true) == std::vector<int32_t>{1});

  const auto more = load({{"tokenizer_config.json", R"({"eos_token": "<end>", "added_tokens_decoder": {
    "0": {"content": "<unk>", "special": true}, "5000": {"content": "<end>", "special": true}}})"}});
  CHECK(more->eos() == 5000);
  CHECK(more->vocab_size() == 5001);
  CHECK(more->encode("<end>", false) == std::vector<int32_t>{5000});

  CHECK_THROWS_WITH(load({{"tokenizer_config.json", R"({"eos_token": "<end>"})"}}),
                    contains("tokenizer_config.json: eos_token: '<end>' is not in the vocabulary"));
  CHECK_THROWS_WITH(load({{"config.json", R"({"eos_token_id": 99999})"}}),
                    contains("eos_token_id: id 99999"));
}

TEST_CASE("text that is not UTF-8 is refused with its place") {
  CHECK_THROWS_AS(byte_tokenizer()->encode("ab\xFF", false), UserError);
  CHECK_THROWS_WITH(byte_tokenizer()->encode("ab\xFF", false), contains("byte 2"));
}

TEST_CASE("a long text without a space, and one megabyte of words, take far less than a second", "[slow]") {
  const auto tokenizer = load_tokenizer(golden_folder / "tokenizer_tiny", "auto");
  std::string words, word;
  while (words.size() < 1'000'000) words += "the old lighthouse keeper counted the ships; ";
  while (word.size() < 1'000'000) word += "lighthouse";
  for (const auto& text : {words, word}) {
    const auto start = std::chrono::steady_clock::now();
    const auto ids = tokenizer->encode(text, false);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    CHECK(tokenizer->decode(ids) == text);
    CHECK(seconds < 5);  // sanitizers and busy machines; 0.3 s at most otherwise
  }
}
