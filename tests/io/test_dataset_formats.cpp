// Conversations, token ids, compressed files and bad lines. test_dataset.cpp has texts and prompts.
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "io/dataset.hpp"
#include "io/files.hpp"
#include "io/tokenizer.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/paths.hpp"

using namespace collie;
using collie::test::contains;
using collie::test::TemporaryFolder;

namespace {

std::string spelled(std::span<const int32_t> tokens) {
  std::string text;
  for (const int32_t token : tokens)
    text += token == 256 ? "^" : token == 257 ? "$" : std::string(1, static_cast<char>(token));
  return text;
}

// The document, its targets in brackets.
std::string marked(const DocumentView& document) {
  std::string text;
  size_t done = 0;
  for (const TokenSpan& span : document.targets) {
    const auto begin = static_cast<size_t>(span.begin), end = static_cast<size_t>(span.end);
    text += spelled(document.tokens.subspan(done, begin - done)) + "[" +
            spelled(document.tokens.subspan(begin, end - begin)) + "]";
    done = end;
  }
  return text + spelled(document.tokens.subspan(done));
}

constexpr const char* chatml =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }};\n{% endfor %}{% if add_generation_prompt "
    "%}<assistant>"
    "{% endif %}";

DataSource source_of(const std::filesystem::path& path, const std::string& format) {
  DataSource source;
  source.path = path.string();
  source.format = format;
  return source;
}

std::shared_ptr<const Dataset> open_source(const TemporaryFolder& folder, const DataSource& source,
                                           int64_t bad_lines = 0) {
  return open_dataset({source}, *byte_tokenizer(), folder / "cache",
                      {"data.train", folder.path(), bad_lines});
}

std::string refusal_of_source(const TemporaryFolder& folder, const DataSource& source,
                              int64_t bad_lines = 0) {
  try {
    open_source(folder, source, bad_lines);
  } catch (const UserError& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("a conversation's targets are the assistant's turns, as the model's template writes them") {
  const TemporaryFolder folder;
  folder.write("chat_template.jinja", chatml);
  folder.write("tokenizer_config.json", R"({"eos_token": ";"})");
  folder.write("x.jsonl",
               R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"},)"
               R"( {"role": "assistant", "content": "Yo"}, {"role": "user", "content": "?"},)"
               R"( {"role": "assistant", "content": "!"}]})"
               "\n"
               R"({"messages": [{"role": "user", "content": "nobody answers"}]})"
               "\n");
  const auto data = open_source(folder, source_of(folder / "x.jsonl", "chat"));
  REQUIRE(data->document_count() == 1);
  CHECK(marked(data->document(0)) == "<system>S;\n<user>Hi;\n<assistant>[Yo;]\n<user>?;\n<assistant>[!;]\n");
}

TEST_CASE("an assistant's message with weight 0 or train false is no target") {
  const TemporaryFolder folder;
  folder.write("chat_template.jinja", chatml);
  folder.write("tokenizer_config.json", R"({"eos_token": ";"})");
  const auto text = [&](const std::string& first, const std::string& second) {
    folder.write("x.jsonl",
                 R"({"talk": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b")" +
                     first + R"(}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d")" +
                     second + "}]}\n");
    auto source = source_of(folder / "x.jsonl", "chat");
    source.messages = "talk";
    return marked(open_source(folder, source)->document(0));
  };
  CHECK(text(R"(, "weight": 0)", R"(, "weight": 1)") ==
        "<user>a;\n<assistant>b;\n<user>c;\n<assistant>[d;]\n");
  CHECK(text("", R"(, "train": false)") == "<user>a;\n<assistant>[b;]\n<user>c;\n<assistant>d;\n");
  folder.write("y.jsonl", R"({"messages": [{"role": "assistant", "content": "b", "weight": 0.5}]})");
  CHECK_THAT(refusal_of_source(folder, source_of(folder / "y.jsonl", "chat")),
             contains("y.jsonl:1: messages[0]: weight must be 0 or 1, not 0.5"));
  folder.write("y.jsonl", R"({"messages": [{"content": "b"}]})");
  CHECK_THAT(refusal_of_source(folder, source_of(folder / "y.jsonl", "chat")),
             contains("must be an object with a role"));
  folder.write("y.jsonl", R"({"messages": "b"})");
  CHECK_THAT(refusal_of_source(folder, source_of(folder / "y.jsonl", "chat")),
             contains("'messages' must be a list"));
}

TEST_CASE("a source may name its own chat template, and another template is other data") {
  const TemporaryFolder folder;
  folder.write("x.jsonl",
               R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],)"
               R"( "chat_template_kwargs": {"sign": "="}})");
  auto source = source_of(folder / "x.jsonl", "chat");
  CHECK_THAT(refusal_of_source(folder, source), contains("format chat needs a chat template"));
  source.chat_template =
      folder.write("own.jinja",
                   "{% for m in messages %}{{ sign }}{% if m.role == 'assistant' %}{% generation %}"
                   "{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}");
  const auto first = open_source(folder, source);
  CHECK(marked(first->document(0)) == "=a=[b]");
  folder.write("own.jinja",
               "{% for m in messages %}{{ m.content }}{% if m.role == 'user' %}|{% endif %}{% endfor %}");
  const auto second = open_source(folder, source);
  CHECK(marked(second->document(0)) == "a|[b]");
  CHECK(first->fingerprint() != second->fingerprint());
}

TEST_CASE("tools that are no list are refused") {
  const TemporaryFolder folder;
  folder.write("chat_template.jinja", chatml);
  const auto refusal = [&](const std::string& tools) {
    folder.write("x.jsonl",
                 R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],)"
                 R"( "tools": )" +
                     tools + "}");
    return refusal_of_source(folder, source_of(folder / "x.jsonl", "chat"));
  };
  CHECK_THAT(refusal(R"("[{\"type\": \"function\"}]")"),
             contains("x.jsonl:1: key 'tools' must be a list of tools, not a string"));
  CHECK_THAT(refusal("{}"), contains("must be a list of tools, not object"));
  CHECK(refusal("[]") == "accepted");
  CHECK(refusal("null") == "accepted");
}

TEST_CASE("data without a conversation to train on say so", "[data]") {
  const TemporaryFolder folder;
  folder.write("chat_template.jinja", chatml);
  folder.write("x.jsonl",
               R"({"messages": [{"role": "user", "content": "a"}, {"role": "assisstant", "content": "b"}]})");
  CHECK_THAT(refusal_of_source(folder, source_of(folder / "x.jsonl", "chat")),
             contains("data.train: there is nothing to learn from: the files have no documents"));
}

TEST_CASE("what a template refuses names the line of the data and says the template's own words") {
  const TemporaryFolder folder;
  folder.write("chat_template.jinja", "{{ raise_exception('no talk today') }}");
  folder.write("x.jsonl",
               "\n"
               R"({"messages": [{"role": "assistant", "content": "b"}]})");
  CHECK_THAT(refusal_of_source(folder, source_of(folder / "x.jsonl", "chat")),
             contains("x.jsonl:2: ") && contains("no talk today"));
}

TEST_CASE("token ids are taken as they are, with labels as transformers has them") {
  const TemporaryFolder folder;
  folder.write("x.jsonl",
               R"({"ids": [97, 98, 99, 100], "marks": [-100, 98, -100, 100], "tokens": [256, 101, 257]})");
  auto source = source_of(folder / "x.jsonl", "tokens");
  CHECK(marked(open_source(folder, source)->document(0)) == "[^e$]");  // the first token is predicted by none
  source.tokens = "ids";
  source.labels = "marks";
  CHECK(marked(open_source(folder, source)->document(0)) == "a[b]c[d]");
  source.add_eos = "true";
  CHECK(marked(open_source(folder, source)->document(0)) == "a[b]c[d$]");
  folder.write("x.jsonl", R"({"ids": [97, 300], "marks": [97, 300]})");
  CHECK_THAT(refusal_of_source(folder, source),
             contains("x.jsonl:1: ids[1] is 300; a token id from 0 to 257 is wanted"));
  folder.write("x.jsonl", R"({"ids": [97, 98], "marks": [97]})");
  CHECK_THAT(refusal_of_source(folder, source), contains("1 labels for 2 tokens"));
  folder.write("x.jsonl", R"({"ids": [97, 98], "marks": [98, -100]})");
  CHECK_THAT(refusal_of_source(folder, source), contains("marks[0] is 98, but the token there is 97"));
}

TEST_CASE("lines that do not parse are refused with their place, or left out as far as is allowed") {
  const TemporaryFolder folder;
  folder.write("x.jsonl", "{\"text\": \"a\"}\n{\"text\": \n{\"text\": 7}\n{\"text\": \"b\"}\n");
  auto source = source_of(folder / "x.jsonl", "jsonl");
  source.text = "text";
  CHECK_THAT(refusal_of_source(folder, source), contains("x.jsonl:2: it is not JSON"));
  CHECK_THAT(refusal_of_source(folder, source, 1),
             contains("x.jsonl:3: key 'text' must be a string") &&
                 contains("it is bad line 2 of this file, and data.max_bad_lines is 1"));
  const auto data = open_source(folder, source, 2);
  REQUIRE(data->document_count() == 2);
  CHECK(spelled(data->document(1).tokens) == "^b$");
}

TEST_CASE("files of gzip and Zstandard are unpacked, whatever they are called") {
  const TemporaryFolder folder;
  std::string lines;
  for (int i = 0; i < 200000; ++i) lines += "{\"text\": \"line " + std::to_string(i) + "\"}\n";
  auto source = source_of(folder / "x.jsonl.gz", "jsonl");
  source.text = "text";
  {
    const gzFile file = gzopen((folder / "x.jsonl.gz").c_str(), "wb");
    REQUIRE(gzwrite(file, lines.data(), static_cast<unsigned>(lines.size())) ==
            static_cast<int>(lines.size()));
    gzclose(file);
  }
  std::string packed(ZSTD_compressBound(lines.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), lines.data(), lines.size(), 3));
  folder.write("x.zst", packed);
  auto zstd = source;
  zstd.path = (folder / "x.zst").string();
  for (const auto& each : {source, zstd}) {
    const auto data = open_source(folder, each);
    REQUIRE(data->document_count() == 200000);
    CHECK(spelled(data->document(199999).tokens) == "^line 199999$");
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder / "cache"))
    CHECK(entry.path().extension() != ".unpacked");
  folder.write("cut.zst", packed.substr(0, packed.size() / 2));
  zstd.path = (folder / "cut.zst").string();
  CHECK_THAT(refusal_of_source(folder, zstd),
             contains("cut.zst: it is compressed by Zstandard, and damaged: it ends too early"));
  folder.write("cut.gz", "\x1F\x8B\x08 no deflate stream");
  zstd.path = (folder / "cut.gz").string();
  CHECK_THAT(refusal_of_source(folder, zstd), contains("cut.gz: it is compressed by gzip, and damaged: "));
}

// Against transformers: tests/golden/make_generation_golden.py made the golden.
TEST_CASE("the targets of generation blocks are the tokens that overlap them, as transformers counts") {
  const auto golden = nlohmann::json::parse(read_text_file(test::golden_file("generation_masks.json")));
  const TemporaryFolder folder;
  nlohmann::json tokenizer = {
      {"model", {{"type", "BPE"}, {"vocab", golden["vocab"]}, {"merges", golden["merges"]}}},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}},
      {"decoder", {{"type", "ByteLevel"}}}};
  folder.write("tokenizer.json", tokenizer.dump());
  folder.write("chat_template.jinja", golden["template"].get<std::string>());
  std::string lines;
  for (const auto& one : golden["cases"])
    lines += nlohmann::json{{"messages", one["messages"]}}.dump() + "\n";
  folder.write("x.jsonl", lines);
  const auto data =
      open_dataset({source_of(folder / "x.jsonl", "chat")}, *load_tokenizer(folder.path(), "auto"),
                   folder / "cache", {"data.train", folder.path()});
  REQUIRE(data->document_count() == static_cast<int64_t>(golden["cases"].size()));
  for (size_t i = 0; i < golden["cases"].size(); ++i) {
    CAPTURE(i);
    const DocumentView document = data->document(static_cast<int64_t>(i));
    CHECK(std::vector<int32_t>(document.tokens.begin(), document.tokens.end()) ==
          golden["cases"][i]["ids"].get<std::vector<int32_t>>());
    std::vector<int> masks(document.tokens.size());
    for (const TokenSpan& span : document.targets)
      std::fill(masks.begin() + span.begin, masks.begin() + span.end, 1);
    CHECK(masks == golden["cases"][i]["masks"].get<std::vector<int>>());
  }
}
