#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "io/files.hpp"
#include "io/tokenizer.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/temporary_folder.hpp"

using namespace collie;
using collie::test::TemporaryFolder;
using nlohmann::json;

namespace {

std::string refusal_of_text(const std::string& content) {
  const TemporaryFolder folder;
  const auto file = folder.write("tokenizer.json", content);
  try {
    load_tokenizer(folder.path(), "auto");
  } catch (const UserError& error) {
    const std::string message = error.what();
    INFO(message);
    CHECK(message.find(file.string() + ": ") == 0);
    return message.substr(std::min(message.size(), file.string().size() + 2));
  }
  return "accepted";
}

json smallest() {
  return json::parse(R"({
    "added_tokens": [{"id": 3, "content": "<s>", "special": true}],
    "normalizer": null, "pre_tokenizer": null, "decoder": null,
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}}},
    "model": {"type": "BPE", "unk_token": "a", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})");
}

// The refusal of the smallest tokenizer.json with `value` put at `pointer`.
std::string refusal_of_key(const std::string& pointer, const json& value) {
  json description = smallest();
  description[json::json_pointer(pointer)] = value;
  return refusal_of_text(description.dump());
}

std::string refusal_without(const std::string& pointer) {
  return refusal_of_text(smallest().patch({{{"op", "remove"}, {"path", pointer}}}).dump());
}

void check(const std::string& message, const std::string& start, const std::string& part = "") {
  INFO(message);
  CHECK(message.rfind(start, 0) == 0);
  CHECK(message.find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("a missing tokenizer.json is named, with what can be done") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(load_tokenizer(folder.path(), "auto"),
                    test::contains((folder / "tokenizer.json").string()) && test::contains("tokenizer.kind"));
  CHECK_THROWS_WITH(load_tokenizer(folder.path(), "word"), test::contains("known: auto, byte"));
}

TEST_CASE("a tokenizer.json that is not the JSON it should be is refused") {
  CHECK(refusal_of_text(smallest().dump()) == "accepted");
  check(refusal_of_text("{"), "it is not JSON");
  check(refusal_of_text("[]"), "it must be a JSON object");
  check(refusal_of_text(""), "it is not JSON");
  check(refusal_of_text(R"({"model": {}, "model": {}})"), "key 'model' is there twice");
  check(refusal_without("/model"), "it has no 'model'");
  check(refusal_without("/model/vocab"), "model: it has no 'vocab'");
  check(refusal_without("/model/merges"), "model: it has no 'merges'");
}

TEST_CASE("a broken vocabulary or merge is refused with its key") {
  check(refusal_of_key("/model/vocab", json::array()), "model.vocab: it must be an object");
  check(refusal_of_key("/model/vocab", json::object()), "model.vocab: it must be an object");
  check(refusal_of_key("/model/vocab/b", 0), "model.vocab.'b': id 0 is also that of 'a'");
  check(refusal_of_key("/model/vocab/b", -1), "model.vocab.'b': id -1 is out of range");
  check(refusal_of_key("/model/vocab/b", 1 << 30), "model.vocab.'b': id 1073741824 is out of range");
  check(refusal_of_key("/model/vocab/b", "1"), "model.vocab.'b': it must be a whole number, not \"1\"");
  check(refusal_of_key("/model/vocab/b", 1.5), "model.vocab.'b': it must be a whole number, not 1.5");
  check(refusal_of_key("/model/merges", "a b"), "model.merges: it must be a list");
  check(refusal_of_key("/model/merges/0", "a"), "model.merges[0]: 'a' must be two tokens with one space");
  check(refusal_of_key("/model/merges/0", "a b c"), "model.merges[0]: 'a b c'");
  check(refusal_of_key("/model/merges/0", 7), "model.merges[0]: it must be \"left right\" or");
  check(refusal_of_key("/model/merges/0", json::array({"a", "b", "c"})), "model.merges[0]: it must be");
  check(refusal_of_key("/model/merges/0", "a x"),
        "model.merges[0]: it merges 'a' and 'x', but 'x' is not in the vocabulary");
  check(refusal_of_key("/model/merges/0", "b a"), "model.merges[0]: it merges 'b' and 'a', but 'ba' is not");
  check(refusal_of_key("/model/unk_token", "<unk>"), "model.unk_token: '<unk>' is not in the vocabulary");
  check(refusal_of_key("/model/fuse_unk", 1), "model.fuse_unk: it must be true or false, not 1");
}

TEST_CASE("broken added tokens and templates are refused with their key") {
  check(refusal_of_key("/added_tokens/0/id", 1), "added_tokens[0]: '<s>' has id 1, which is that of 'b'");
  check(refusal_of_key("/added_tokens/0/id", -1), "added_tokens[0].id: id -1");
  check(refusal_of_key("/added_tokens/0/content", "ab"),
        "added_tokens[0]: 'ab' has id 3, but id 2 in model.vocab");
  check(refusal_of_key("/added_tokens/0/content", nullptr),
        "added_tokens[0].content: it must be a string, not null");
  check(refusal_of_key("/added_tokens/0/lstrip", "no"), "added_tokens[0].lstrip: it must be true or false");
  check(refusal_of_key("/added_tokens/1", json{{"id", 3}, {"content", "x"}}),
        "added_tokens[1]: 'x' has id 3, which is that of '<s>'");
  check(refusal_of_key("/post_processor/special_tokens/<s>/ids/0", 9),
        "post_processor.special_tokens.<s>.ids[0]: id 9");
  check(refusal_of_key("/post_processor/single/1/Sequence/id", "B"), "post_processor.single[1].Sequence.id");
  check(refusal_without("/post_processor/single/1"), "post_processor.single: it has no");
  check(refusal_without("/post_processor/special_tokens/<s>"),
        "post_processor.special_tokens: it has no '<s>'");
}

TEST_CASE("components that are not there yet are refused by name") {
  const auto refuses = [](const std::string& key, const std::string& type) {
    const std::string message = refusal_of_key("/" + key, {{"type", type}});
    check(message, key + ".type: ", "'" + type + "'");
    check(message, "", "not supported yet; supported: ");
  };
  check(refusal_of_key("/model", {{"type", "Huffman"}}), "model.type: the model 'Huffman' is not supported");
  refuses("normalizer", "Uppercase");
  refuses("pre_tokenizer", "UnicodeScripts");
  refuses("decoder", "CTC");
  check(refusal_of_key("/post_processor", {{"type", "Padding"}}),
        "post_processor.type: the post_processor 'Padding' is not supported; supported: BertProcessing");
  check(refusal_of_key("/pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {{{"type", "Split"}}}}}),
        "pre_tokenizer.pretokenizers[0]: it has no 'pattern'");
  check(refusal_of_key("/normalizer", {{"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", " "}}),
        "normalizer.pattern.String: it must not be empty");
  check(refusal_of_key("/normalizer", {{"type", "Strip"}, {"strip_left", 1}}),
        "normalizer.strip_left: it must be true or false");
  check(refusal_of_key("/normalizer", {{"kind", "NFC"}}), "normalizer: it has no 'type'");
  check(refusal_of_key("/normalizer", "NFC"), "normalizer: it must be an object");
  check(refusal_of_key("/pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "__"}}),
        "pre_tokenizer.replacement: it must be one character");
  check(refusal_of_key("/pre_tokenizer",
                       {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "last"}}),
        "pre_tokenizer.prepend_scheme: it must be always, first or never, not 'last'");
  check(refusal_of_key("/model/dropout", 0.1), "model.dropout: BPE dropout is not supported yet");
}

TEST_CASE("a regular expression that cannot mean here what it means elsewhere is refused with its place") {
  const auto refuses = [](const std::string& expression, const std::string& reason) {
    const json split = {{"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", "Isolated"}};
    check(refusal_of_key("/pre_tokenizer", split), "pre_tokenizer.pattern.Regex: ", reason);
  };
  refuses("(a", "is wrong: missing closing parenthesis");
  refuses("[a-z[^b]]", "a class within a class at byte 4");
  refuses("[a&&b]", "an intersection of classes ('&&') at byte 2");
  refuses("a{1,3}+", "'+' after a counted repetition at byte 6");
  refuses("(?m:.)", "the flag m at byte 0");
  refuses("(*LIMIT_MATCH=1)a", "'(*' at byte 0");
  refuses("[^\\S]", "'\\S' within a class");
  refuses("\\R", "'\\R' at byte 0");
  refuses("\\p{L", "'\\p{' without '}'");
  refuses("a\\", "a backslash at the end");
  refuses(std::string(70000, 'a'), "70000 bytes; at most 65536 are supported");
  check(refusal_of_key("/pre_tokenizer",
                       {{"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Kept"}}),
        "pre_tokenizer.behavior: it must be Contiguous, Isolated,", "not 'Kept'");
}

TEST_CASE("a regular expression that takes too many steps ends with a message, not never") {
  json description = smallest();
  description["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"Regex", "(a+)+b|(a|aa)+c"}}}, {"behavior", "Isolated"}};
  const TemporaryFolder folder;
  folder.write("tokenizer.json", description.dump());
  const auto tokenizer = load_tokenizer(folder.path(), "auto");
  CHECK_THROWS_WITH(tokenizer->encode(std::string(60, 'a'), false), test::contains("gives up at byte 0"));
}

TEST_CASE("other models' broken parts are refused with their key") {
  const auto unigram = [](json vocab, json unknown) {
    return refusal_of_key("/model",
                          {{"type", "Unigram"}, {"vocab", std::move(vocab)}, {"unk_id", std::move(unknown)}});
  };
  check(unigram(json::array(), 0), "model.vocab: it must be a list of [token, score]");
  check(unigram(json::parse(R"([["a", -1.0], ["b"]])"), 0), "model.vocab[1]: it must be [token, score]");
  check(unigram(json::parse(R"([["a", -1.0]])"), 1),
        "model.unk_id: id 1 is not in the vocabulary, which has 1");
  check(refusal_of_key("/model", {{"type", "WordPiece"}, {"vocab", json::array()}}),
        "model.vocab: it must be an object");
  const auto charsmap = [](const std::string& base64) {
    return refusal_of_key("/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", base64}});
  };
  check(charsmap("?"), "normalizer.precompiled_charsmap: it must be base64");
  check(charsmap("AAAA"), "normalizer.precompiled_charsmap: its 3 bytes are not a trie's size");
  check(charsmap("////////"), "normalizer.precompiled_charsmap: its 6 bytes are not");
  // One node, which is its own leaf, and one byte of texts: 04000000 00010000 41.
  check(charsmap("BAAAAAABAABB"), "normalizer.precompiled_charsmap: node 0 of its trie points to byte");
}

TEST_CASE("a SentencePiece model whose character map leads out of itself is refused") {
  const auto refusal_of_map = [](const std::string& map) {
    const TemporaryFolder folder;
    // ModelProto { normalizer_spec { precompiled_charsmap: map } }
    const auto size = [](size_t bytes) {
      return std::string{static_cast<char>(0x80 | (bytes & 0x7F)), static_cast<char>(bytes >> 7)};
    };
    const std::string spec = "\x12" + size(map.size()) + map;
    folder.write("tokenizer.model", "\x1A" + size(spec.size()) + spec);
    try {
      load_tokenizer(folder.path(), "auto");
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  const auto map_of = [](std::vector<uint32_t> trie, const std::string& texts) {
    const auto bytes = static_cast<uint32_t>(trie.size() * 4);
    trie.insert(trie.begin(), bytes);
    return std::string(reinterpret_cast<const char*>(trie.data()), trie.size() * 4) + texts;
  };
  using collie::test::contains;
  const std::string damaged = "tokenizer.model: the character map of its normalizer is damaged: ";
  std::vector<uint32_t> trie(256, 1);  // nodes that lead to each other, and not out of the trie
  const std::string texts("x\0", 2);
  CHECK_THAT(refusal_of_map(map_of(trie, texts)),
             !contains("damaged"));  // it has no pieces, which comes later
  CHECK_THAT(refusal_of_map(map_of(trie, "x")), contains(damaged + "its last text has no end"));
  CHECK_THAT(refusal_of_map(map_of(trie, "")), contains(damaged + "it has no trie with texts behind it"));
  CHECK_THAT(refusal_of_map("abc"), contains(damaged + "it has no trie"));
  trie[0] = 1u << 10 | 'a';  // the children of the root are at 1 ^ label, in the same block
  trie[1 ^ 'a'] = 300u << 10 | 'a';
  CHECK_THAT(refusal_of_map(map_of(trie, texts)), contains(damaged + "node 96 of its trie leads out of it"));
  trie[1 ^ 'a'] = 2u << 10 | 1u << 8 | 'a';
  trie[(1 ^ 'a') ^ 2] = 1u << 31 | 7;
  CHECK_THAT(refusal_of_map(map_of(trie, texts)),
             contains(damaged + "node 96 of its trie points behind its texts"));
}
