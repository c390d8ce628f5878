#include "base/library_folders.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>

namespace collie {

namespace fs = std::filesystem;

namespace {

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream stream(list);
  for (std::string part; std::getline(stream, part, ':');)
    if (!part.empty()) parts.push_back(part);
  return parts;
}

// The sub-folders of `folder` whose names begin with `start`, higher version numbers first.
std::vector<fs::path> children(const fs::path& folder, const std::string& start) {
  std::vector<fs::path> found;
  std::error_code unreadable;
  for (const auto& entry : fs::directory_iterator(folder, unreadable))
    if (entry.path().filename().string().starts_with(start)) found.push_back(entry.path());
  const auto newer = [](const fs::path& a, const fs::path& b) {
    return ::strverscmp(a.filename().c_str(), b.filename().c_str()) > 0;
  };
  std::sort(found.begin(), found.end(), newer);
  return found;
}

class Search {
 public:
  explicit Search(const Machine& machine) : machine_(machine) {}

  std::vector<std::string> run() {
    for (const std::string& folder : split(machine_.variable("COLLIE_ENGINE_CUDA_LIBRARIES"))) add(folder);
    for (const char* name : {"CUDA_HOME", "CUDA_PATH"})
      if (const std::string home = machine_.variable(name); !home.empty()) add_toolkit(home);
    const fs::path local = machine_.root + "/usr/local";
    add_toolkit(local / "cuda");
    for (const fs::path& toolkit : children(local, "cuda-")) add_toolkit(toolkit);
    for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"})
      if (const std::string prefix = machine_.variable(name); !prefix.empty()) add_python(prefix);
    for (const std::string& folder : split(machine_.variable("PATH"))) add_interpreter(folder);
    if (const std::string home = machine_.variable("HOME"); !home.empty()) add_python(home + "/.local");
    add_python(local);
    add_python(machine_.root + "/usr");
    return std::move(found_);
  }

 private:
  void add(const fs::path& folder) {
    std::error_code missing;
    if (!fs::is_directory(folder, missing)) return;
    const std::string path = fs::canonical(folder, missing).string();
    if (std::find(found_.begin(), found_.end(), path) == found_.end()) found_.push_back(path);
  }

  void add_toolkit(const fs::path& folder) {
    add(folder / "lib64");
    add(folder / "lib");
  }

  // `prefix` is a folder with bin/python3 and lib/python3.x.
  void add_python(const fs::path& prefix) {
    for (const fs::path& version : children(prefix / "lib", "python3"))
      for (const char* packages : {"site-packages", "dist-packages"})
        for (const fs::path& wheel : children(version / packages / "nvidia", "")) add(wheel / "lib");
  }

  // In a virtual environment the interpreter is a link to another, which may have packages of its own.
  void add_interpreter(const fs::path& folder) {
    constexpr int longest_chain = 8;
    fs::path program = folder / "python3";
    std::error_code none;
    for (int links = 0; links < longest_chain && fs::exists(fs::symlink_status(program, none)); ++links) {
      add_python(program.parent_path().parent_path());
      if (!fs::is_symlink(program, none)) return;
      program = program.parent_path() / fs::read_symlink(program, none);
    }
  }

  const Machine& machine_;
  std::vector<std::string> found_;
};

}  // namespace

Machine this_machine() {
  return {"", [](const std::string& name) {
            const char* const value = std::getenv(name.c_str());
            return std::string(value != nullptr ? value : "");
          }};
}

std::vector<std::string> library_folders(const Machine& machine) {
  return Search(machine).run();
}

}  // namespace collie
