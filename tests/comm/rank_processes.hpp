// Ranks as processes: this executable again, told by its environment what to do.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace collie::test {

// A folder that ranks share, and what they put there. Removed in the end.
class RankFolder {
 public:
  RankFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "collie-ranks-XXXXXX").string();
    COLLIE_ASSERT(mkdtemp(name.data()) != nullptr, "no folder {}", name);
    path_ = name;
  }
  ~RankFolder() { std::filesystem::remove_all(path_); }
  RankFolder(const RankFolder&) = delete;
  RankFolder& operator=(const RankFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path.string() + ".part", std::ios::binary) << text;
  std::filesystem::rename(path.string() + ".part", path);
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Whether the file is there within 60 s.
inline bool appears(const std::filesystem::path& path) {
  for (int i = 0; i < 60'000 && !std::filesystem::exists(path); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return std::filesystem::exists(path);
}

// One process that runs the test case of this executable, in silence; killed with this object, if it still
// runs.
class RankProcess {
 public:
  RankProcess(const std::string& test_case, int rank, int size, const std::filesystem::path& folder) {
    std::vector<std::string> variables = {"COLLIE_TEST_RANK=" + std::to_string(rank),
                                          "COLLIE_TEST_SIZE=" + std::to_string(size),
                                          "COLLIE_TEST_FOLDER=" + folder.string()};
    std::vector<char*> environment;
    for (char** variable = environ; *variable != nullptr; ++variable) environment.push_back(*variable);
    for (std::string& variable : variables) environment.push_back(variable.data());
    environment.push_back(nullptr);
    std::string program = "/proc/self/exe", name = test_case;
    std::array<char*, 3> arguments = {program.data(), name.data(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    const int error =
        posix_spawn(&process_, program.c_str(), &actions, nullptr, arguments.data(), environment.data());
    posix_spawn_file_actions_destroy(&actions);
    COLLIE_ASSERT(error == 0, "posix_spawn: error {}", error);
  }
  ~RankProcess() {
    if (process_ == 0) return;
    signal(SIGKILL);
    wait();
  }
  RankProcess(RankProcess&& other) noexcept : process_(std::exchange(other.process_, 0)) {}
  RankProcess& operator=(RankProcess&&) = delete;

  void signal(int number) const { kill(process_, number); }

  // The exit status, or minus the signal that ended it.
  int wait() {
    int status = 0;
    while (waitpid(process_, &status, 0) == -1 && errno == EINTR) {
    }
    process_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t process_ = 0;
};

inline std::vector<RankProcess> start_ranks(const std::string& test_case, int size,
                                            const std::filesystem::path& folder) {
  std::vector<RankProcess> processes;
  for (int rank = 0; rank < size; ++rank) processes.emplace_back(test_case, rank, size, folder);
  return processes;
}

// In such a process.
struct RankSelf {
  int rank = 0, size = 0;
  std::filesystem::path folder;

  // Whether there was an environment to read.
  bool read() {
    const char *rank_text = getenv("COLLIE_TEST_RANK"), *size_text = getenv("COLLIE_TEST_SIZE"),
               *folder_text = getenv("COLLIE_TEST_FOLDER");
    if (!rank_text || !size_text || !folder_text) return false;
    rank = std::stoi(rank_text);
    size = std::stoi(size_text);
    folder = folder_text;
    return true;
  }
  std::filesystem::path file(const std::string& name) const {
    return folder / (name + " " + std::to_string(rank));
  }
};

}  // namespace collie::test
