#include <sys/stat.h>

#include <algorithm>
#include <thread>

#include "base/error.hpp"
#include "io/dataset.hpp"
#include "io/dataset_formats.hpp"
#include "io/files.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/paths.hpp"

using namespace collie;
using collie::test::contains;
using collie::test::TemporaryFolder;

namespace {

DataSource text_source(const std::filesystem::path& path) {
  DataSource source;
  source.path = path.string();
  return source;
}

DataSource jsonl_source(const std::filesystem::path& path, const std::string& text,
                        const std::string& prompt = "", const std::string& completion = "") {
  DataSource source;
  source.path = path.string();
  source.format = "jsonl";
  source.text = text;
  source.prompt = prompt;
  source.completion = completion;
  return source;
}

// Bytes, BOS and EOS as one readable string: ^ and $.
std::string spell(const DocumentView& document) {
  std::string text;
  for (const int32_t token : document.tokens)
    text += token == 256   ? std::string("^")
            : token == 257 ? std::string("$")
                           : std::string(1, static_cast<char>(token));
  return text;
}

// What the document's targets spell.
std::string targets(const DocumentView& document) {
  std::string text;
  for (const TokenSpan& span : document.targets)
    text += spell(
        {document.tokens.subspan(static_cast<size_t>(span.begin), static_cast<size_t>(span.end - span.begin)),
         {}});
  return text;
}

// The byte tokenizer, with or without BOS and EOS.
class PlainBytes : public Tokenizer {
 public:
  PlainBytes(bool adds_bos, bool has_eos) : adds_bos_(adds_bos), has_eos_(has_eos) {}
  std::vector<int32_t> encode(std::string_view text, bool add_special) const override {
    auto ids = byte_tokenizer()->encode(text, false);
    if (add_special && adds_bos_) ids.insert(ids.begin(), 256);
    return ids;
  }
  Encoding encode_with_starts(std::string_view text) const override {
    return byte_tokenizer()->encode_with_starts(text);
  }
  std::string decode(std::span<const int32_t> ids) const override { return byte_tokenizer()->decode(ids); }
  int64_t vocab_size() const override { return 258; }
  std::optional<int32_t> bos() const override { return 256; }
  std::optional<int32_t> eos() const override {
    return has_eos_ ? std::optional<int32_t>(257) : std::nullopt;
  }
  bool adds_bos() const override { return adds_bos_; }
  void save_to(const std::filesystem::path&) const override {}
  std::string fingerprint() const override { return adds_bos_ ? "with" : "without"; }

 private:
  bool adds_bos_, has_eos_;
};

std::string refusal(const std::vector<DataSource>& sources, const Tokenizer& tokenizer = *byte_tokenizer()) {
  const TemporaryFolder cache;
  try {
    open_dataset(sources, tokenizer, cache.path(), {"data.train"});
  } catch (const UserError& error) {
    return error.what();
  }
  return "accepted";
}

std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

TEST_CASE("a text file is one document from BOS to EOS, files in bytewise order") {
  const TemporaryFolder folder;
  folder.write("b.txt", "bee\n");
  folder.write("a.txt", "ay");
  folder.write("B.txt", "Bee");
  folder.write("empty.txt", "");
  const auto data =
      open_dataset({text_source(folder / "*.txt")}, *byte_tokenizer(), folder / "cache", {"data.train"});
  REQUIRE(data->document_count() == 3);
  CHECK(spell(data->document(0)) == "^Bee$");
  CHECK(spell(data->document(1)) == "^ay$");
  CHECK(spell(data->document(2)) == "^bee\n$");
  CHECK(targets(data->document(2)) == "bee\n$");
  CHECK(data->token_count() == 5 + 4 + 6);
  CHECK(data->pair_count() == 4 + 3 + 5);
  CHECK(data->target_count() == 4 + 3 + 5);  // every token but the first
}

TEST_CASE("without BOS the first token of a text is no target") {
  const TemporaryFolder folder;
  folder.write("a.txt", "abc");
  const auto data = open_dataset({text_source(folder / "a.txt")}, PlainBytes(false, true), folder / "cache",
                                 {"data.train"});
  CHECK(spell(data->document(0)) == "abc$");
  CHECK(data->target_count() == 3);
}

TEST_CASE("jsonl samples are documents; prompts are masked") {
  const TemporaryFolder folder;
  folder.write("x.jsonl",
               "{\"t\": \"one\", \"p\": \"Q?\", \"c\": \"A\"}\r\n\n  \n{\"t\": \"\", \"p\": \"\", \"c\": "
               "\"B\\u00e9\"}");
  const auto text = open_dataset({jsonl_source(folder / "x.jsonl", "t")}, *byte_tokenizer(), folder / "cache",
                                 {"data.train"});
  REQUIRE(text->document_count() == 2);
  CHECK(spell(text->document(0)) == "^one$");
  CHECK(spell(text->document(1)) == "^$");
  CHECK(text->target_count() == 4 + 1);

  const auto pairs = open_dataset({jsonl_source(folder / "x.jsonl", "", "p", "c")}, *byte_tokenizer(),
                                  folder / "cache", {"data.train"});
  REQUIRE(pairs->document_count() == 2);
  CHECK(spell(pairs->document(0)) == "^Q?A$");
  CHECK(targets(pairs->document(0)) == "A$");
  CHECK(spell(pairs->document(1)) == "^B\xC3\xA9$");
  CHECK(targets(pairs->document(1)) == "B\xC3\xA9$");
  CHECK(pairs->target_count() == 2 + 4);  // A$ and B, two bytes, $

  const auto bare = open_dataset({jsonl_source(folder / "x.jsonl", "", "p", "c")}, PlainBytes(false, true),
                                 folder / "cache", {"data.train"});
  CHECK(spell(bare->document(0)) == "Q?A$");
  CHECK(targets(bare->document(0)) == "A$");
  CHECK(targets(bare->document(1)) == "B\xC3\xA9$");
  CHECK(bare->target_count() == 2 + 3);
}

TEST_CASE("sources follow one another as configured") {
  const TemporaryFolder folder;
  folder.write("a.txt", "a");
  folder.write("b.jsonl", R"({"t":"b"})");
  const auto data = open_dataset({jsonl_source(folder / "b.jsonl", "t"), text_source(folder / "a.txt")},
                                 *byte_tokenizer(), folder / "cache", {"data.train"});
  REQUIRE(data->document_count() == 2);
  CHECK(spell(data->document(0)) == "^b$");
  CHECK(spell(data->document(1)) == "^a$");
}

TEST_CASE("a key that is twice in a line of JSONL is refused with file and line") {
  const TemporaryFolder folder;
  const auto file = folder.write("x.jsonl", "{\"t\":\"a\"}\n{\"t\":\"b\",\"u\":1,\"t\":\"c\"}\n");
  CHECK_THAT(refusal({jsonl_source(file, "t")}), contains(file.string() + ":2: key 't' is there twice"));
  const auto nested = folder.write("y.jsonl", "{\"t\":\"a\",\"u\":{\"v\":1,\"v\":2}}\n");
  CHECK_THAT(refusal({jsonl_source(nested, "t")}), contains(":1: key 'v' is there twice"));
}

TEST_CASE("a line of JSONL is refused where it is deep or long, in a short message") {
  const TemporaryFolder folder;
  const auto deep = folder.write("deep.jsonl", "{\"t\":" + std::string(1 << 20, '[') + "\n");
  CHECK_THAT(refusal({jsonl_source(deep, "t")}), contains("deep.jsonl:1: more than 100 lists"));
  const auto keys = folder.write("keys.jsonl", "{\"" + std::string(1 << 20, 'k') + "\":1,\"l\":2}\n");
  CHECK(refusal({jsonl_source(keys, "t")}).size() < 500);
  const auto number = folder.write("number.jsonl", std::string(1 << 20, '7') + "\n");
  CHECK(refusal({jsonl_source(number, "t")}).size() < 500);
}

TEST_CASE("a line of JSONL that never ends is refused by its length", "[slow]") {
  const TemporaryFolder folder;
  const auto file = folder.write("x.jsonl", "{\"t\":\"a\"}\n");
  std::filesystem::resize_file(file, (uintmax_t{256} << 20) + 16);
  CHECK_THAT(refusal({jsonl_source(file, "t")}), contains("x.jsonl:2: the line has 2684354"));
}

TEST_CASE("data that are no regular file are refused by key and file, without a wait") {
  const TemporaryFolder folder;
  const std::string pipe = (folder / "pipe.txt").string(), link = (folder / "zero.txt").string();
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  std::filesystem::create_symlink("/dev/zero", link);
  CHECK_THAT(refusal({text_source(pipe)}),
             contains("data.train: cannot read " + pipe + ": it is a pipe; a regular file is wanted"));
  CHECK_THAT(refusal({text_source((folder / "p*.txt").string())}), contains("it is a pipe"));
  CHECK_THAT(refusal({text_source(link)}), contains(link + ": it is a device; a regular file is wanted"));
}

TEST_CASE("broken data are refused with file and line or byte") {
  const TemporaryFolder folder;
  const auto refuse_jsonl = [&](const std::string& content, const std::string& text = "t") {
    return refusal({jsonl_source(folder.write("x.jsonl", content), text)});
  };
  const std::string file = (folder / "x.jsonl").string();
  CHECK_THAT(refuse_jsonl("{\"t\":\"a\"}\n\n{\"t\":\n"), contains(file + ":3: it is not JSON"));
  CHECK_THAT(refuse_jsonl("[1]\n"), contains(file + ":1: it must be a JSON object, not [1]"));
  CHECK_THAT(refuse_jsonl("{\"t\":\"a\"}\n{\"u\":\"a\",\"v\":1}\n"),
             contains(file + ":2: it has no key 't'; it has: 'u', 'v'"));
  CHECK_THAT(refuse_jsonl("{}\n"), contains("it has: none"));
  CHECK_THAT(refuse_jsonl("{\"t\":3}\n"), contains(file + ":1: key 't' must be a string, not number"));
  CHECK_THAT(refuse_jsonl("{\"t\":null}\n"), contains("not null"));
  CHECK_THAT(refuse_jsonl("{\"t\":\"\\ud800\"}\n"), contains(file + ":1: it is not JSON"));
  CHECK_THAT(refuse_jsonl("{\"t\":\"a\"}\n{\"t\":\"\xC3(\"}\n"),
             contains(file + ": it is not valid UTF-8 at byte 16 (0xC3)"));
  CHECK_THAT(refuse_jsonl("{\"t\":\"a\"}\n", ""), contains("either text, or prompt and completion"));
  CHECK_THAT(refusal({text_source(folder.write("x.txt", "ab\xE2\x82"))}),
             contains("x.txt: it is not valid UTF-8 at byte 2"));
  CHECK_THAT(refusal({text_source(folder / "no*.txt")}), contains("no*.txt"));
  CHECK_THAT(refusal({text_source(folder.write("y.txt", "abc"))}, PlainBytes(true, false)),
             contains("no EOS token"));
}

TEST_CASE("a data set without targets or of an unknown format is refused") {
  const TemporaryFolder folder;
  CHECK_THAT(refusal({text_source(folder.write("x.txt", ""))}),
             contains("data.train: there is nothing to learn from"));
  CHECK_THAT(refusal({jsonl_source(folder.write("x.jsonl", "\n\n"), "t")}),
             contains("nothing to learn from"));
  CHECK_THAT(refusal({jsonl_source(folder.write("y.jsonl", R"({"t":""})"), "t")}, PlainBytes(false, true)),
             contains("1 documents without a single target"));
  auto unknown = text_source(folder.write("y.txt", "abc"));
  unknown.format = "parquet";
  CHECK_THAT(refusal({unknown}),
             contains("unknown data set format 'parquet'; known: chat, jsonl, text, tokens"));
}

TEST_CASE("the cache is used again, and only for the same contents, tokenizer and settings") {
  const TemporaryFolder folder;
  const auto cache = folder / "cache";
  folder.write("a.jsonl", R"({"t":"abc","u":"xyz"})");
  const auto open = [&](const std::string& file, const std::string& key, const Tokenizer& tokenizer) {
    return spell(
        open_dataset({jsonl_source(folder / file, key)}, tokenizer, cache, {"data.train"})->document(0));
  };
  CHECK(open("a.jsonl", "t", *byte_tokenizer()) == "^abc$");
  REQUIRE(files_in(cache).size() == 1);
  const auto written = std::filesystem::last_write_time(files_in(cache)[0]);
  CHECK(open("a.jsonl", "t", *byte_tokenizer()) == "^abc$");
  CHECK(std::filesystem::last_write_time(files_in(cache)[0]) == written);

  std::filesystem::copy_file(folder / "a.jsonl", folder / "copy.jsonl");
  CHECK(open("copy.jsonl", "t", *byte_tokenizer()) == "^abc$");
  CHECK(files_in(cache).size() == 1);  // the same contents elsewhere
  CHECK(open("a.jsonl", "u", *byte_tokenizer()) == "^xyz$");
  CHECK(files_in(cache).size() == 2);
  CHECK(open("a.jsonl", "t", PlainBytes(false, true)) == "abc$");
  CHECK(files_in(cache).size() == 3);
  folder.write("a.jsonl", R"({"t":"abd","u":"xyz"})");
  CHECK(open("a.jsonl", "t", *byte_tokenizer()) == "^abd$");
  CHECK(files_in(cache).size() == 4);
}

TEST_CASE("a broken or foreign cache is made anew") {
  const TemporaryFolder folder;
  const auto cache = folder / "cache";
  folder.write("a.txt", "some text to keep");
  const auto open = [&] {
    return spell(
        open_dataset({text_source(folder / "a.txt")}, *byte_tokenizer(), cache, {"data.train"})->document(0));
  };
  open();
  const auto file = files_in(cache).at(0);
  const std::string good = read_text_file(file.string());
  std::vector<std::string> broken = {"",
                                     "x",
                                     good.substr(0, 100),
                                     good.substr(0, good.size() - 1),
                                     good + "x",
                                     std::string(good.size(), '\0')};
  for (size_t place = 0; place < good.size(); place += place < 136 ? 5 : 17) {
    if (place >= 136 && place < 192) continue;  // unused
    broken.push_back(good);
    broken.back()[place] = static_cast<char>(broken.back()[place] ^ 1);
  }
  for (const auto& content : broken) {
    std::ofstream(file, std::ios::binary) << content;
    CHECK(open() == "^some text to keep$");
    CHECK(read_text_file(file.string()) == good);
  }
  // The cache of other text under this one's name.
  folder.write("b.txt", "other text");
  open_dataset({text_source(folder / "b.txt")}, *byte_tokenizer(), cache, {"data.train"});
  for (const auto& other : files_in(cache))
    if (other != file)
      std::filesystem::copy_file(other, file, std::filesystem::copy_options::overwrite_existing);
  CHECK(open() == "^some text to keep$");
}

TEST_CASE("a cache that is being built by several at once is right for all") {
  const TemporaryFolder folder;
  folder.write("a.txt", std::string(300'000, 'a'));
  std::vector<std::thread> threads;
  std::vector<std::string> results(4);
  for (auto& result : results)
    threads.emplace_back([&] {
      try {
        const auto data = open_dataset({text_source(folder / "a.txt")}, *byte_tokenizer(), folder / "cache",
                                       {"data.train"});
        result = spell(data->document(0)) == "^" + std::string(300'000, 'a') + "$" ? "right" : "wrong";
      } catch (const std::exception& error) {
        result = error.what();
      }
    });
  for (auto& thread : threads) thread.join();
  for (const auto& result : results) CHECK(result == "right");
  CHECK(files_in(folder / "cache").size() == 1);  // no temporary files left
}

TEST_CASE("a data set that fails to build leaves nothing in the cache") {
  const TemporaryFolder folder;
  folder.write("a.jsonl", "{\"t\":\"abc\"}\nbroken");
  CHECK_THROWS_AS(open_dataset({jsonl_source(folder / "a.jsonl", "t")}, *byte_tokenizer(), folder / "cache",
                               {"data.train"}),
                  UserError);
  CHECK(files_in(folder / "cache").empty());
  folder.write("file", "");
  CHECK_THROWS_AS(open_dataset({jsonl_source(folder / "a.jsonl", "t")}, *byte_tokenizer(), folder / "file",
                               {"data.train"}),
                  RunError);
}

TEST_CASE("a host program can add a data set format") {
  dataset_formats().add("test-letters",
                        {.by_line = false,
                         .read = [](const DataFile&, const DataRecord& record, const Tokenizer&,
                                    const DocumentSink& sink, DataFindings&) {
                           for (const char letter : record.text) sink(document_from({letter, 257}, 0));
                         }});
  const TemporaryFolder folder;
  auto source = text_source(folder.write("a.txt", "abc"));
  source.format = "test-letters";
  const auto data = open_dataset({source}, *byte_tokenizer(), folder / "cache", {"data.train"});
  REQUIRE(data->document_count() == 3);
  CHECK(spell(data->document(2)) == "c$");
}

TEST_CASE("GSM8K is read") {
  const auto file = test::shared_data("gsm8k/test.jsonl");
  if (!std::filesystem::exists(file)) {
    WARN(file << " is absent: skipped");
    return;
  }
  const TemporaryFolder folder;
  const auto data = open_dataset({jsonl_source(file, "", "question", "answer")}, *byte_tokenizer(),
                                 folder / "cache", {"data.eval"});
  CHECK(data->document_count() == 200);
  CHECK(data->target_count() < data->pair_count());
}

TEST_CASE("a prompt and its completion are one text, and a token belongs to where it begins") {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", R"({"model": {"type": "BPE", "merges": [["_", "b"]],
    "vocab": {"a": 0, "_": 1, "b": 2, "_b": 3, "$": 5}}, "added_tokens": [{"id": 5, "content": "$", "special": true}]})");
  folder.write("tokenizer_config.json", R"({"eos_token": "$"})");
  const auto tokenizer = load_tokenizer(folder.path(), "auto");
  folder.write("x.jsonl", "{\"p\": \"a\", \"c\": \"_b\"}\n{\"p\": \"a_\", \"c\": \"b\"}\n");
  const auto data = open_dataset({jsonl_source(folder / "x.jsonl", "", "p", "c")}, *tokenizer,
                                 folder / "cache", {"data.train"});
  for (int64_t i = 0; i < 2; ++i)
    CHECK(std::vector<int32_t>(data->document(i).tokens.begin(), data->document(i).tokens.end()) ==
          std::vector<int32_t>{0, 3, 5});
  CHECK(data->document(0).targets.front() == TokenSpan{1, 3});  // "_b" begins at the boundary
  CHECK(data->document(1).targets.front() == TokenSpan{2, 3});  // "_b" begins before it
}

TEST_CASE("a source says whether BOS and EOS are added, and a text that brings its own is warned of") {
  const TemporaryFolder folder;
  folder.write("x.jsonl", "{\"t\": \"<|byte:bos|>ab<|byte:eos|>\"}\n");
  const auto spelled = [&](const std::string& bos, const std::string& eos) {
    auto source = jsonl_source(folder / "x.jsonl", "t");
    source.add_bos = bos;
    source.add_eos = eos;
    return spell(open_dataset({source}, *byte_tokenizer(), folder / "cache", {"data.train"})->document(0));
  };
  CHECK(spelled("auto", "auto") == "^^ab$$");
  CHECK(spelled("false", "auto") == "^ab$$");
  CHECK(spelled("true", "false") == "^^ab$");
  CHECK(spelled("false", "false") == "^ab$");
}
