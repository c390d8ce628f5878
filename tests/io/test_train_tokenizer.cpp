// New tokenizers against Hugging Face's trainer: tests/golden/make_tokenizer_components.py made the goldens.
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "io/files.hpp"
#include "io/tokenizer.hpp"
#include "io/tokenizers/tokenizer_description.hpp"
#include "io/tokenizers/training/train_tokenizer.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/paths.hpp"

using namespace collie;
using collie::test::contains;
using collie::test::TemporaryFolder;
using nlohmann::json;

namespace {

const json& goldens() {
  static const json parsed = json::parse(
      read_text_file((test::source_folder() / "tests/golden/tokenizer_components.json").string()));
  return parsed;
}

NextText in_turn(const std::vector<std::string>& list) {
  return [&list, at = size_t{0}](std::string_view& text) mutable {
    if (at == list.size()) return false;
    text = list[at++];
    return true;
  };
}

std::vector<std::string> training_lines() {
  return goldens()["trained_on"].get<std::vector<std::string>>();
}

std::shared_ptr<const Tokenizer> loaded(const TokenizerFiles& files) {
  const TemporaryFolder folder;
  for (const auto& [name, contents] : files) folder.write(name, contents);
  return load_tokenizer(folder.path(), "auto");
}

}  // namespace

TEST_CASE("byte-level BPE learns the merges of the tokenizers library, in its order") {
  const auto lines = training_lines();
  const std::pair<const char*, const char*> cases[] = {
      {"gpt2", R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"},
      {"gpt4", llama3_pattern}};
  for (const auto& [name, pattern] : cases) {
    CAPTURE(name);
    const json& model = goldens()["tokenizers"][name]["tokenizer"]["model"];
    TokenizerTraining training;
    training.vocab_size = static_cast<int64_t>(model["vocab"].size());
    training.min_frequency = 0;
    training.special_tokens = {"<|end|>"};
    const LearntMerges learnt = learn_merges(training, pattern, in_turn(lines));
    REQUIRE(learnt.vocabulary.size() == model["vocab"].size());
    for (size_t id = 0; id < learnt.vocabulary.size(); ++id)
      CHECK(model["vocab"][learnt.vocabulary[id]] == id);
    REQUIRE(learnt.merges.size() == model["merges"].size());
    for (size_t i = 0; i < learnt.merges.size(); ++i)
      CHECK(model["merges"][i] == json::array({learnt.merges[i].first, learnt.merges[i].second}));
  }
}

TEST_CASE("a trained tokenizer gives every text back, ends documents and is made the same again") {
  const auto lines = training_lines();
  for (const char* kind : {"bpe", "unigram"}) {
    CAPTURE(kind);
    TokenizerTraining training;
    training.kind = kind;
    training.vocab_size = 400;
    training.min_frequency = 0;
    training.special_tokens = {"<|user|>"};
    training.bos = "<s>";
    training.eos = "<|end|>";
    const TokenizerFiles files = train_tokenizer(training, in_turn(lines));
    CHECK(train_tokenizer(training, in_turn(lines)) == files);
    const auto tokenizer = loaded(files);
    CHECK(tokenizer->vocab_size() == 400);
    CHECK(tokenizer->adds_bos());
    REQUIRE(tokenizer->eos());
    CHECK(tokenizer->encode("<|end|>", false) == std::vector<int32_t>{*tokenizer->eos()});
    CHECK(tokenizer->encode("<|user|>", false).size() == 1);
    for (const std::string text : {"The old lighthouse keeper", "  two  spaces ", "tab\tand\nnewline\n",
                                   "\xE6\x97\xA5 \xF0\x9F\x98\x80", "x"})
      CHECK(tokenizer->decode(tokenizer->encode(text, true)) == text);
    CHECK(tokenizer->encode("lighthouse keeper", false).size() < std::string("lighthouse keeper").size());
  }
}

TEST_CASE("a tokenizer that cannot be trained is refused with the option") {
  const auto lines = training_lines();
  const auto refusal = [&](const TokenizerTraining& training) {
    try {
      train_tokenizer(training, in_turn(lines));
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  TokenizerTraining training;
  training.eos = "</s>";
  training.vocab_size = 200;
  CHECK_THAT(refusal(training), contains("--vocab-size: found 200; at least 257 are needed"));
  training.vocab_size = 100000;
  CHECK_THAT(refusal(training), contains("--vocab-size: the text gives "));
  training.kind = "unigram";
  CHECK_THAT(refusal(training), contains("--vocab-size: libsentencepiece cannot make 100000 tokens"));
  training.vocab_size = 330;
  training.bos = "</s>";
  CHECK_THAT(refusal(training), contains("--bos: a unigram tokenizer cannot have one token, '</s>'"));
  training.bos = "";
  training.special_tokens = {"a,b"};
  CHECK_THAT(refusal(training), contains("--special: 'a,b' has a comma"));
  training.kind = "words";
  CHECK_THAT(refusal(training), contains("--kind: unknown kind 'words'; known: bpe, unigram"));
  training.kind = "bpe";
  training.eos = "";
  CHECK_THAT(refusal(training), contains("--eos: it must not be empty"));
}
