// The seeds of every target are read as libFuzzer would: those that are named good are accepted, the others
// are accepted or refused. What libFuzzer found is among them.
#include <algorithm>
#include <chrono>
#include <filesystem>

#include "base/error.hpp"
#include "base/log.hpp"
#include "io/files.hpp"
#include "tests/catch.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/io/scratch_folder.hpp"
#include "tests/paths.hpp"

using namespace collie;
using namespace collie::test;

namespace {

namespace fs = std::filesystem;

constexpr double longest_s = 10;          // for one seed
constexpr size_t longest_message = 4096;  // paths are part of it

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

fs::path seeds() {
  return source_folder() / "tests/fuzz/seeds";
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// What refuses the file; "" if it is accepted.
std::string refusal(const FuzzTarget& target, const fs::path& file) {
  const ScratchFolder folder;
  try {
    target.read(folder.path(), read_text_file(file.string()));
    return "";
  } catch (const UserError& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("every target has seeds, one of them good, and no seeds are of no target") {
  for (const fs::path& folder : files_in(seeds())) {
    INFO(folder);
    const auto& all = fuzz_targets();
    CHECK(std::any_of(all.begin(), all.end(),
                      [&](const FuzzTarget& target) { return target.name == folder.filename(); }));
  }
  for (const FuzzTarget& target : fuzz_targets()) {
    INFO(target.name);
    const auto files = files_in(seeds() / target.name);
    CHECK(std::any_of(files.begin(), files.end(),
                      [](const fs::path& file) { return file.filename().string().rfind("good_", 0) == 0; }));
  }
}

TEST_CASE("seeds are accepted or refused with a short message, good ones accepted") {
  spdlog::set_level(spdlog::level::off);
  for (const FuzzTarget& target : fuzz_targets())
    for (const fs::path& file : files_in(seeds() / target.name)) {
      INFO(file);
      const double start = seconds();
      std::string message;
      CHECK_NOTHROW(message = refusal(target, file));
      CHECK(seconds() - start < longest_s);
      CHECK(message.size() <= longest_message);
      if (file.filename().string().rfind("good_", 0) == 0) CHECK(message == "");
    }
  spdlog::set_level(spdlog::level::info);
}
