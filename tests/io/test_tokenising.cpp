// Data files on several threads and in pieces: the result must be that of one thread and one piece.
#include "io/tokenising.hpp"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <random>

#include "base/error.hpp"
#include "io/data_pieces.hpp"
#include "io/files.hpp"
#include "io/sequence_order.hpp"
#include "io/tokenising_progress.hpp"
#include "tests/catch.hpp"
#include "tests/io/captured_log.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/peak_memory.hpp"
#include "tests/io/temporary_folder.hpp"

using namespace collie;
using collie::test::contains;
using collie::test::TemporaryFolder;

namespace {

DataSource lines_of(const std::filesystem::path& path) {
  DataSource source;
  source.path = path.string();
  source.format = "jsonl";
  source.text = "t";
  return source;
}

DataSource text_of(const std::filesystem::path& path) {
  DataSource source;
  source.path = path.string();
  return source;
}

std::shared_ptr<const Dataset> open_with(const TemporaryFolder& folder,
                                         const std::vector<DataSource>& sources, int threads,
                                         int64_t bad_lines = 0, const std::string& cache = "") {
  return open_dataset(sources, *byte_tokenizer(), folder / (cache.empty() ? std::to_string(threads) : cache),
                      {.name = "data.train", .max_bad_lines = bad_lines, .threads = threads});
}

std::string refusal(const TemporaryFolder& folder, const std::vector<DataSource>& sources, int threads,
                    int64_t bad_lines = 0) {
  try {
    open_with(folder, sources, threads, bad_lines);
  } catch (const UserError& error) {
    return error.what();
  }
  return "accepted";
}

// The caches of a folder by name, with their contents.
std::map<std::string, std::string> caches_in(const std::filesystem::path& folder) {
  std::map<std::string, std::string> caches;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".tokens")
      caches[entry.path().filename().string()] = read_text_file(entry.path().string());
  return caches;
}

std::string random_lines(std::mt19937& random, size_t bytes) {
  std::string text;
  for (int i = 0; text.size() < bytes; ++i) {
    const size_t length = random() % 20 == 0 ? random() % 30000 : random() % 300;
    text += random() % 9 == 0 ? "  \r\n" : "";
    text += "{\"t\": \"" + std::to_string(i) + std::string(length, 'x') + "\xC3\xA9\"}\n";
  }
  return text;
}

void write_gzip(const std::filesystem::path& path, const std::string& text) {
  const gzFile file = gzopen(path.c_str(), "wb1");
  REQUIRE(gzwrite(file, text.data(), static_cast<unsigned>(text.size())) == static_cast<int>(text.size()));
  gzclose(file);
}

}  // namespace

TEST_CASE("several threads write the caches that one writes, bit for bit", "[tokenising]") {
  const TemporaryFolder folder;
  std::mt19937 random(5);
  const std::string some = random_lines(random, 3 << 20), others = random_lines(random, 1 << 20);
  folder.write("a.jsonl", some);
  write_gzip(folder / "b.jsonl.gz", others);
  std::filesystem::create_directory(folder / "texts");
  for (int i = 0; i < 40; ++i) folder.write("texts/" + std::to_string(i), random_lines(random, 1000));
  const std::vector<DataSource> sources = {lines_of(folder / "a.jsonl"), text_of(folder / "texts/*"),
                                           lines_of(folder / "b.jsonl.gz")};
  const auto one = open_with(folder, sources, 1);
  REQUIRE(caches_in(folder / "1").size() == 42);
  for (const int threads : {2, 3, 8}) {
    CAPTURE(threads);
    const auto data = open_with(folder, sources, threads);
    CHECK(data->fingerprint() == one->fingerprint());
    CHECK(caches_in(folder / std::to_string(threads)) == caches_in(folder / "1"));
  }
}

TEST_CASE("several threads render conversations as one does", "[tokenising]") {
  const TemporaryFolder folder;
  folder.write(
      "chat_template.jinja",
      "{%- set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}<{{ m.role }} {{ ns.n "
      "}}>{{ m.content | trim }};\n{% endfor %}{% if add_generation_prompt %}<assistant {{ ns.n + 1 }}>{% "
      "endif %}");
  std::string lines;
  for (int i = 0; i < 2000; ++i)
    lines += fmt::format(
        R"({{"messages": [{{"role": "user", "content": " {0}{1}"}}, {{"role": "assistant", "content": "{0}"}}]}})"
        "\n",
        i, std::string(static_cast<size_t>(i) % 900, 'q'));
  folder.write("x.jsonl", lines);
  DataSource source = text_of(folder / "x.jsonl");
  source.format = "chat";
  for (const int threads : {1, 2, 4})
    open_dataset({source}, *byte_tokenizer(), folder / std::to_string(threads),
                 {.name = "data.train", .tokenizer_folder = folder.path(), .threads = threads});
  REQUIRE(caches_in(folder / "1").size() == 1);
  CHECK(caches_in(folder / "2") == caches_in(folder / "1"));
  CHECK(caches_in(folder / "4") == caches_in(folder / "1"));
}

TEST_CASE("of several bad lines the first is named, whichever thread sees it", "[tokenising]") {
  const TemporaryFolder folder;
  std::mt19937 random(6);
  std::string text = random_lines(random, 2 << 20);
  const auto spoil = [&](size_t place, const std::string& line) {
    const size_t at = text.find('\n', place) + 1;
    const auto number = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n') + 1;
    text.insert(at, line + "\n");
    return number;
  };
  // From the back, so that the places before stay.
  const auto third = spoil(1'900'000, "[3]");
  const auto second = spoil(1'200'000, "[2]");
  const auto first = spoil(600'000, "[1]");
  folder.write("x.jsonl", text);
  const std::vector<DataSource> sources = {lines_of(folder / "x.jsonl")};
  for (const int threads : {1, 4}) {
    CAPTURE(threads);
    CHECK_THAT(refusal(folder, sources, threads), contains(fmt::format("x.jsonl:{}: ", first)));
    CHECK_THAT(refusal(folder, sources, threads, 1), contains(fmt::format("x.jsonl:{}: ", second + 1)) &&
                                                         contains("it is bad line 2 of this file"));
    CHECK_THAT(refusal(folder, sources, threads, 2), contains(fmt::format("x.jsonl:{}: ", third + 2)));
    CHECK(refusal(folder, sources, threads, 3) == "accepted");
    CHECK(caches_in(folder / std::to_string(threads)).size() == 1);
  }
  CHECK(caches_in(folder / "1") == caches_in(folder / "4"));
  const size_t broken = text.find('\n', 1'000'000) + 1;
  text.insert(broken, "\xC3(\n");
  folder.write("x.jsonl", text);
  for (const int threads : {1, 4})
    CHECK_THAT(refusal(folder, sources, threads, 9),
               contains(fmt::format("it is not valid UTF-8 at byte {} (0xC3)", broken)));
}

TEST_CASE("pieces are whole lines, and together the file", "[tokenising]") {
  const TemporaryFolder folder;
  std::mt19937 random(7);
  for (int round = 0; round < 40; ++round) {
    std::string text;
    for (size_t left = random() % 300'000; left > 0;) {
      const size_t length = std::min<size_t>(left, random() % (random() % 5 == 0 ? 100'000 : 200));
      text += std::string(length, 'a') + (random() % 50 == 0 ? "" : "\n");
      left -= length;
      if (random() % 400 == 0) break;
    }
    folder.write("x", text);
    if (round % 3 == 1) write_gzip(folder / "x", text);
    if (round % 3 == 2) {
      std::string packed(ZSTD_compressBound(text.size()), '\0');
      packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
      folder.write("x", packed);
    }
    DataPieces pieces((folder / "x").string(), DataPieces::Cut::lines, 1 + random() % 5000);
    std::string whole;
    DataPiece piece;
    while (pieces.next(piece)) {
      CHECK(piece.overlong == 0);
      CHECK(piece.first_byte == whole.size());
      CHECK(piece.first_line == std::count(whole.begin(), whole.end(), '\n') + 1);
      CHECK((whole.empty() || whole.back() == '\n'));
      CHECK_FALSE(piece.text.empty());
      whole += piece.text;
    }
    CHECK(whole == text);
    CHECK(pieces.bytes_read() == pieces.file_bytes());
  }
}

TEST_CASE("warnings of a file are given again when its tokens come from the cache", "[tokenising]") {
  const TemporaryFolder folder;
  folder.write("x.jsonl", "[]\n{\"t\": \"<|byte:bos|>ab\"}\n{\"t\": \"<|byte:bos|>c\"}\n");
  std::filesystem::create_directory(folder / "elsewhere");
  std::filesystem::copy_file(folder / "x.jsonl", folder / "elsewhere/y.jsonl");
  DataFindings findings;
  findings.add(DataFindings::Kind::bad_line, "/data/x.jsonl:1: it is bad");
  findings.add(DataFindings::Kind::bad_line, "/data/x.jsonl:7: it is bad, too");
  DataFindings later;
  later.add(DataFindings::Kind::bad_line, "/data/x.jsonl:9");
  later.add(DataFindings::Kind::joined, "a and b");
  findings.append(later);
  const DataFindings again = DataFindings::from_text(findings.to_text("/data/x.jsonl"), "/other/y.jsonl");
  CHECK(again.count(DataFindings::Kind::bad_line) == 3);
  CHECK(again.count(DataFindings::Kind::joined) == 1);
  CHECK(again.to_text("/other/y.jsonl") == findings.to_text("/data/x.jsonl"));
  CHECK(DataFindings().to_text("x").empty());
  // Through the cache.
  for (const std::string file : {"x.jsonl", "x.jsonl", "elsewhere/y.jsonl"}) {
    const test::CapturedLog log;
    open_with(folder, {lines_of(folder / file)}, 1, 1, "cache");
    const std::string path = (folder / file).string();
    CHECK_THAT(log.text(), contains(path + ": 1 bad lines are left out (data.max_bad_lines); the first: " +
                                    path + ":1: it must be a JSON object"));
    CHECK_THAT(log.text(), contains(path + ": a text begins with the BOS token, and one more is added"));
  }
  CHECK(caches_in(folder / "cache").size() == 1);
}

TEST_CASE("a file of records that is taken as one text is warned of", "[tokenising]") {
  const TemporaryFolder folder;
  folder.write("x.jsonl", "{\"t\": \"a\"}\n");
  folder.write("x.txt", "a");
  const test::CapturedLog log;
  open_with(folder, {text_of(folder / "x.txt")}, 1);
  CHECK(log.text().empty());
  open_with(folder, {text_of(folder / "x.jsonl")}, 1);
  CHECK_THAT(log.text(), contains("x.jsonl: the whole file is taken as one text"));
}

TEST_CASE("the line of progress says how far, how fast and how long", "[tokenising]") {
  const TemporaryFolder folder;
  Screen screen(2);
  const double start = 1000;
  const TokenisingProgress progress(
      1'000'000'000, [&]() -> Screen& { return screen; }, start);
  CHECK(progress.line(250'000'000, "x.jsonl", start + 10, 200) ==
        "tokenising  25 % of 954 MiB  23.8 MiB/s  0:00:30 left  x.jsonl");
  CHECK(progress.line(250'000'000, "x.jsonl", start + 10, 20) == "tokenising  25 % of ");
}

namespace {

void write_large(const std::filesystem::path& path, size_t bytes) {
  std::ofstream out(path, std::ios::binary);
  std::string line;
  for (size_t written = 0, i = 0; written < bytes; written += line.size(), ++i) {
    line = "{\"t\": \"" + std::to_string(i) + std::string(180 + i % 64, 'x') + "\"}\n";
    out << line;
  }
}

// Tokenises x.jsonl of the folder, and reads an epoch of it.
void read_large(const std::filesystem::path& folder) {
  const int64_t before = test::peak_memory_kib();
  int64_t targets = 0;
  for (int time = 0; time < 2; ++time) {  // from the file, and from the cache
    const auto data = open_dataset({lines_of(folder / "x.jsonl")}, *byte_tokenizer(), folder / "cache",
                                   {.name = "data.train", .threads = 2});
    const SequenceOrder order(data, {2048, Packing::stream, true, 1});
    for (int64_t i = 0; i < order.sequences_per_epoch(); ++i) {
      MicroBatch batch;
      order.append_sequence(0, i, batch);
      targets += batch.target_tokens;
    }
    REQUIRE(targets == (time + 1) * data->target_count());
  }
  test::note_growth_kib(test::peak_memory_kib() - before);
}

void check_growth(const std::string& tag, size_t bytes, int64_t most_mib) {
  if (!test::memory_can_be_measured) return;
  const TemporaryFolder folder;
  write_large(folder / "x.jsonl", bytes);
  const int64_t growth = test::growth_of_child_kib(folder.path(), tag);
  WARN("memory grew by " << growth / 1024 << " MiB for a file of " << (bytes >> 20) << " MiB");
  CHECK(growth < most_mib * 1024);
}

}  // namespace

TEST_CASE("tokenises and reads the large file of a test", "[.][large_data_child]") {
  if (!test::folder_of_child().empty()) read_large(test::folder_of_child());
}

// Its cache has four bytes a token, and a token a byte.
TEST_CASE("a file is tokenised and read in less memory than it has bytes", "[tokenising][slow]") {
  check_growth("[large_data_child]", size_t{200} << 20, 120);
}

namespace {

void read_long_line(const std::filesystem::path& folder) {
  const int64_t before = test::peak_memory_kib();
  open_dataset({lines_of(folder / "x.jsonl")}, *byte_tokenizer(), folder / "cache",
               {.name = "data.train", .threads = 2});
  test::note_growth_kib(test::peak_memory_kib() - before);
}

}  // namespace

TEST_CASE("tokenises the long line of a test", "[.][long_line_child]") {
  if (!test::folder_of_child().empty()) read_long_line(test::folder_of_child());
}

TEST_CASE("a line of n bytes takes at most 40 n bytes of memory", "[tokenising][slow]") {
  if (!test::memory_can_be_measured) return;
  const TemporaryFolder folder;
  folder.write("x.jsonl", "{\"t\": \"" + std::string(size_t{32} << 20, 'x') + "\"}\n");
  const int64_t growth = test::growth_of_child_kib(folder.path(), "[long_line_child]");
  WARN("memory grew by " << growth / 1024 << " MiB for a line of 32 MiB");
  CHECK(growth < 40 * 32 * 1024);
}
