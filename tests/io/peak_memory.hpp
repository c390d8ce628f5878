// The largest memory that a process has had, mapped files included, and how a test case has a process of its
// own.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

namespace collie::test {

// VmHWM, in KiB.
inline int64_t peak_memory_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0) return std::stoll(line.substr(6));
  throw std::runtime_error("/proc/self/status has no VmHWM");
}

// In that process: the folder that it was given, where it notes by how much its peak has grown. Empty where
// the test case was not started so: it has nothing to do then.
inline std::filesystem::path folder_of_child() {
  const char* folder = std::getenv("COLLIE_TEST_FOLDER");
  return folder == nullptr ? "" : folder;
}
inline void note_growth_kib(int64_t kib) {
  std::ofstream(folder_of_child() / "growth") << kib;
}

// Runs the test case of that tag, alone in a process, and returns what it noted.
inline int64_t growth_of_child_kib(const std::filesystem::path& folder, const std::string& tag) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string command = "COLLIE_TEST_FOLDER='" + folder.string() + "' '" + program + "' '" + tag +
                              "' > '" + folder.string() + "/said' 2>&1";
  if (std::system(command.c_str()) != 0) {
    std::ifstream said(folder / "said");
    throw std::runtime_error(command + " failed:\n" + std::string(std::istreambuf_iterator<char>(said), {}));
  }
  int64_t kib = -1;
  std::ifstream(folder / "growth") >> kib;
  if (kib < 0) throw std::runtime_error(command + " noted nothing");
  return kib;
}

// Sanitizers have memory of their own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool memory_can_be_measured = false;
#else
constexpr bool memory_can_be_measured = true;
#endif

}  // namespace collie::test
