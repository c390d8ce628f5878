#include "net/peer_secret.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error.hpp"
#include "tests/catch.hpp"
#include "tests/io/temporary_folder.hpp"

using namespace collie;
using namespace collie::test;
namespace fs = std::filesystem;

namespace {

// Sets a variable, or none, as long as it lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* const before = std::getenv(name)) before_ = before;
    if (value.empty())
      ::unsetenv(name);
    else
      ::setenv(name, value.c_str(), 1);
  }
  ~Variable() {
    if (before_.empty())
      ::unsetenv(name_);
    else
      ::setenv(name_, before_.c_str(), 1);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::string before_;
};

std::string write(const TemporaryFolder& folder, const std::string& name, const std::string& text,
                  mode_t mode) {
  const std::string path = folder.write(name, text).string();
  ::chmod(path.c_str(), mode);
  return path;
}

ClusterSection of_file(const std::string& path) {
  ClusterSection cluster;
  cluster.secret_file = path;
  return cluster;
}

std::string said_of(const ClusterSection& cluster) {
  try {
    cluster_secret(cluster);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE(
    "a secret is the text of its file or variable, white space around it aside, and the file comes first") {
  const TemporaryFolder folder;
  const Variable none("COLLIE_ENGINE_SECRET", "");
  const auto one = cluster_secret(of_file(write(folder, "one", "one\n", 0600)));
  CHECK(one == cluster_secret(of_file(write(folder, "spaces", "  one \r\n", 0400))));
  CHECK(one != cluster_secret(of_file(write(folder, "two", "two", 0600))));
  const Variable variable("COLLIE_ENGINE_SECRET", "one");
  CHECK(one == cluster_secret({}));
  CHECK(one != cluster_secret(of_file((folder / "two").string())));
}

TEST_CASE("a file that is no secret is refused with what to do") {
  const TemporaryFolder folder;
  const auto refused = [](const std::string& path, const std::vector<std::string>& parts) {
    const std::string said = said_of(of_file(path));
    INFO(said);
    for (const auto& part : parts) CHECK(said.find(part) != std::string::npos);
  };
  for (const mode_t mode : {0640, 0604, 0620, 0644})
    refused(write(folder, "open", "secret", mode), {"cluster.secret_file", "open", "chmod 600"});
  refused(write(folder, "empty", " \n", 0600), {"empty", "a secret is needed"});
  refused((folder / "missing").string(), {"missing", "No such file"});
  refused(folder.path().string(), {"is no file"});
  refused("/dev/zero", {"is no file"});
  refused(write(folder, "huge", std::string(5'000, 'x'), 0600), {"is no file of at most 4096 bytes"});
  const std::string pipe = (folder / "pipe").string();
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  refused(pipe, {"is no file"});  // at once: nobody writes
}

TEST_CASE("the user's own secret is made once, for the user alone, and found by all") {
  const TemporaryFolder folder;
  const Variable none("COLLIE_ENGINE_SECRET", ""), state("XDG_STATE_HOME", (folder / "deep/state").string());
  std::vector<PeerKey> found(8);
  std::vector<std::thread> threads;
  for (auto& each : found) threads.emplace_back([&each] { each = cluster_secret({}); });
  for (auto& thread : threads) thread.join();
  for (const auto& each : found) CHECK(each == found[0]);
  const fs::path own = folder / "deep/state/collie-engine";
  CHECK((fs::status(own / "secret").permissions() & fs::perms::all) ==
        (fs::perms::owner_read | fs::perms::owner_write));
  CHECK(std::distance(fs::directory_iterator(own), fs::directory_iterator()) ==
        1);  // nothing is left beside it
  const TemporaryFolder elsewhere;
  const Variable other("XDG_STATE_HOME", elsewhere.path().string());
  CHECK(cluster_secret({}) != found[0]);
}

TEST_CASE("where no secret can be kept it is said what helps") {
  const TemporaryFolder folder;
  const Variable none("COLLIE_ENGINE_SECRET", ""), state("XDG_STATE_HOME", write(folder, "file", "", 0600));
  const std::string said = said_of({});
  INFO(said);
  CHECK(said.find("cannot be made") != std::string::npos);
  CHECK(said.find("COLLIE_ENGINE_SECRET") != std::string::npos);
}
