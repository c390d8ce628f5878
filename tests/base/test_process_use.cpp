// What a process takes of its machine.
#include "base/process_use.hpp"

#include <filesystem>
#include <fstream>
#include <vector>

#include "tests/catch.hpp"

using namespace collie;

TEST_CASE("process use: this process's memory grows by what it touches") {
  const ProcessUse before = use_of_this_process();
  CHECK(before.process != 0);
  CHECK(before.resident_bytes > 0);
  CHECK(before.most_resident_bytes >= before.resident_bytes);
  constexpr size_t bytes = size_t{64} << 20;
  {
    std::vector<char> touched(bytes, 1);
    const ProcessUse with = use_of_this_process();
    CHECK(with.resident_bytes - before.resident_bytes > static_cast<int64_t>(bytes / 2));
    CHECK(touched.back() == 1);
  }
  const ProcessUse after = use_of_this_process();
  CHECK(after.most_resident_bytes - before.resident_bytes > static_cast<int64_t>(bytes / 2));
  CHECK(after.process == before.process);
  CHECK(after.at_ns >= before.at_ns);
}

TEST_CASE("process use: what the kernel's files do not say is not known") {
  const auto folder = std::filesystem::temp_directory_path() / "collie-process-use";
  std::filesystem::remove_all(folder);
  CHECK(use_of_this_process(folder.string()).resident_bytes == -1);
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "status")
      << "Name:\tx VmRSS: 9\nVmPeak:\t 9 kB\nVmHWM:\t      12 kB\nVmRSS:\t 7 kB\n";
  std::ofstream(folder / "io")
      << "rchar: 5\nwchar: 6\nsyscr: 1\nread_bytes: 4096\nwrite_bytes:\ncancelled: 3\n";
  const ProcessUse use = use_of_this_process(folder.string());
  CHECK(use.resident_bytes == 7 * 1024);
  CHECK(use.most_resident_bytes == 12 * 1024);
  CHECK(use.read_bytes == 4096);
  CHECK(use.written_bytes == -1);
  std::filesystem::remove_all(folder);
}

TEST_CASE("process use: whoever looks every step measures at most twice per second") {
  ProcessWatch watch;
  CHECK(watch.look());
  CHECK_FALSE(watch.look());
}
