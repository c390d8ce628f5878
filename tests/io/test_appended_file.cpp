#include "io/appended_file.hpp"

#include <sys/resource.h>

#include <csignal>

#include "base/error.hpp"
#include "io/files.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/scratch_folder.hpp"

using namespace collie;
using collie::test::contains;
using collie::test::ScratchFolder;

namespace {

// While it lives, no file of this process can become larger than `bytes`.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int);
};

}  // namespace

TEST_CASE("what is appended can be read at once, after what was there") {
  const ScratchFolder folder;
  const std::string path = folder.write("file", "before ");
  AppendedFile file(path);
  CHECK(file.path() == path);
  file.append(std::string_view("a\0b", 3));
  file.append("");
  CHECK(read_text_file(path) == std::string("before a\0b", 10));
}

TEST_CASE("a piece that does not fit leaves no part of itself, and the error names the file") {
  const ScratchFolder folder;
  const std::string path = folder / "file";
  AppendedFile file(path);
  file.append("12345");
  {
    const FileSizeLimit limit(8);
    CHECK_THROWS_WITH(file.append("6789"), contains("cannot write " + path) && contains("File too large"));
    CHECK_THROWS_AS(file.append("6789"), RunError);
    CHECK(read_text_file(path) == "12345");
    file.append("678");
  }
  CHECK(read_text_file(path) == "12345678");
  CHECK_THROWS_WITH(AppendedFile("/dev/full").append("1"),
                    contains("cannot write /dev/full: No space left on device"));
  CHECK_THROWS_WITH(AppendedFile("/nowhere/at/all"), contains("/nowhere/at/all: No such file"));
}
