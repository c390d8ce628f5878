#include "io/appended_file.hpp"

#include "base/error.hpp"
#include "io/files.hpp"
#include "tests/catch.hpp"
#include "tests/io/file_size_limit.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/scratch_folder.hpp"

using namespace collie;
using collie::test::contains;
using collie::test::FileSizeLimit;
using collie::test::ScratchFolder;

namespace {}  // namespace

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
