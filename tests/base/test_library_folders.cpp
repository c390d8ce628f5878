// Where NVIDIA's libraries are looked for, on made-up machines.
#include "base/library_folders.hpp"

#include <dlfcn.h>

#include <cmath>
#include <cstdlib>
#include <map>

#include "base/library.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/temporary_folder.hpp"

using namespace collie;
using collie::test::contains;
using collie::test::TemporaryFolder;

namespace fs = std::filesystem;

namespace {

// Folders that the search finds on a machine with these files, relative to the machine's root.
std::vector<std::string> found(const TemporaryFolder& machine,
                               const std::map<std::string, std::string>& variables) {
  const std::string root = fs::canonical(machine / ".").string();
  std::vector<std::string> folders = library_folders(
      {root, [&](const std::string& name) { return variables.count(name) ? variables.at(name) : ""; }});
  for (std::string& folder : folders) {
    REQUIRE(folder.starts_with(root));
    folder = folder.substr(root.size());
  }
  return folders;
}

using Folders = std::vector<std::string>;

void make_folder(const TemporaryFolder& machine, const std::string& name) {
  fs::create_directories(machine / name);
}

}  // namespace

TEST_CASE("a machine without CUDA and Python has no folders to look in") {
  const TemporaryFolder machine;
  CHECK(found(machine, {{"PATH", "/nowhere/bin"}, {"CUDA_HOME", "/nowhere"}}) == Folders{});
}

TEST_CASE("toolkits are looked in as they are named, then as they are new, each once") {
  const TemporaryFolder machine;
  for (const char* name : {"usr/local/cuda-9.2/lib64", "usr/local/cuda-12.4/lib64",
                           "usr/local/cuda-13.0/lib64", "opt/toolkit/lib64", "opt/toolkit/lib", "own"})
    make_folder(machine, name);
  fs::create_directory_symlink("cuda-12.4", machine / "usr/local/cuda");
  CHECK(found(machine, {{"CUDA_HOME", (machine / "opt/toolkit").string()},
                        {"COLLIE_ENGINE_CUDA_LIBRARIES", "/nowhere:" + (machine / "own").string()}}) ==
        Folders{"/own", "/opt/toolkit/lib64", "/opt/toolkit/lib", "/usr/local/cuda-12.4/lib64",
                "/usr/local/cuda-13.0/lib64", "/usr/local/cuda-9.2/lib64"});
}

TEST_CASE("Python's wheels are found beside the interpreter on PATH and beside what it links to") {
  const TemporaryFolder machine;
  make_folder(machine, "venv/lib/python3.12/site-packages/nvidia/cu13/lib");
  make_folder(machine, "venv/lib/python3.12/site-packages/nvidia/cudnn/lib");
  make_folder(machine, "opt/python/lib/python3.12/site-packages/nvidia/nccl/lib");
  make_folder(machine, "usr/lib/python3/dist-packages/nvidia/cublas/lib");
  make_folder(machine, "opt/python/bin");
  make_folder(machine, "venv/bin");
  machine.write("opt/python/bin/python3.12", "");
  fs::create_symlink("python3.12", machine / "opt/python/bin/python3");
  fs::create_symlink(machine / "opt/python/bin/python3", machine / "venv/bin/python3");
  CHECK(found(machine, {{"PATH", "/bin:" + (machine / "venv/bin").string()}}) ==
        Folders{"/venv/lib/python3.12/site-packages/nvidia/cudnn/lib",
                "/venv/lib/python3.12/site-packages/nvidia/cu13/lib",
                "/opt/python/lib/python3.12/site-packages/nvidia/nccl/lib",
                "/usr/lib/python3/dist-packages/nvidia/cublas/lib"});
  CHECK(found(machine, {{"VIRTUAL_ENV", (machine / "venv").string()}}).size() == 3);
}

TEST_CASE(
    "a library that the dynamic linker does not know is loaded from such a folder, or its places are named") {
  const TemporaryFolder folder, broken;
  Dl_info maths{};
  REQUIRE(dladdr(reinterpret_cast<const void*>(static_cast<double (*)(double)>(std::cbrt)), &maths) != 0);
  const std::string name = "libcollie-test.so.1";
  const auto load = [&] { return Library("a test's library", {name}).name(); };
  REQUIRE_THROWS_WITH(load(), contains("cannot load a test's library: libcollie-test.so.1"));
  fs::copy_file(fs::canonical(maths.dli_fname), folder / name);
  ::setenv("COLLIE_ENGINE_CUDA_LIBRARIES", (folder / ".").c_str(), 1);
  CHECK(load() == fs::canonical(folder / ".") / name);
  broken.write(name, "no library");
  ::setenv("COLLIE_ENGINE_CUDA_LIBRARIES", (broken / ".").c_str(), 1);
  CHECK_THROWS_WITH(load(), contains(name + ": file too short"));
  ::unsetenv("COLLIE_ENGINE_CUDA_LIBRARIES");
}
