#include <chrono>
#include <fstream>
#include <thread>

#include "base/sha256.hpp"
#include "io/file_hash.hpp"
#include "io/files.hpp"
#include "io/sealed_json.hpp"
#include "tests/catch.hpp"
#include "tests/io/temporary_folder.hpp"

namespace collie::test {
namespace {

std::string hash_of(const std::string& text) {
  return sha256_hex(std::as_bytes(std::span(text)));
}

std::filesystem::path memory_in(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".hash") return entry.path();
  return {};
}

TEST_CASE("a data file's hash is remembered while the file is as it was, and only then", "[slow]") {
  const TemporaryFolder folder;
  const auto file = folder / "a.txt", cache = folder / "cache";
  std::filesystem::create_directory(cache);
  folder.write("a.txt", "first");
  {
    const FileHash young(file.string(), cache);
    CHECK(young.sha256() == hash_of("first"));
    young.remember();
    CHECK(memory_in(cache).empty());  // what is written in the same moment might not show
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(2200));
  FileHash(file.string(), cache).remember();
  const auto memory = memory_in(cache);
  REQUIRE_FALSE(memory.empty());

  // That it is used shows where it says something else.
  nlohmann::json kept = unseal(read_text_file(memory.string()), "memory");
  kept.erase("sha256");
  kept["content"] = hash_of("something else");
  std::ofstream(memory) << seal(kept);
  CHECK(FileHash(file.string(), cache).sha256() == hash_of("something else"));
  std::string damaged = seal(kept);
  damaged[30] ^= 1;
  std::ofstream(memory) << damaged;
  CHECK(FileHash(file.string(), cache).sha256() == hash_of("first"));

  std::ofstream(memory) << seal(kept);
  folder.write("a.txt", "other");  // of the same length
  CHECK(FileHash(file.string(), cache).sha256() == hash_of("other"));
}

}  // namespace
}  // namespace collie::test
