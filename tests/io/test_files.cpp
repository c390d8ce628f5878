#include "io/files.hpp"

#include <sys/stat.h>

#include <filesystem>

#include "base/error.hpp"
#include "tests/catch.hpp"
#include "tests/io/file_size_limit.hpp"
#include "tests/io/scratch_folder.hpp"

using namespace collie;
using collie::test::FileSizeLimit;
using collie::test::ScratchFolder;
namespace fs = std::filesystem;

namespace {

using Names = std::vector<std::string>;

template <class Error, class Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// The matches of a pattern inside the folder, as paths relative to it.
Names matches(const ScratchFolder& folder, const std::string& pattern) {
  Names names;
  for (const std::string& path : expand_glob(folder / pattern))
    names.push_back(path.substr(folder.path().size() + 1));
  return names;
}

class WorkingDirectory {
 public:
  explicit WorkingDirectory(const std::string& path) : before_(fs::current_path()) { fs::current_path(path); }
  ~WorkingDirectory() { fs::current_path(before_); }

 private:
  fs::path before_;
};

}  // namespace

TEST_CASE("a file is read whole, with every byte it has") {
  const ScratchFolder folder;
  std::string text(200000, '\0');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31);
  CHECK(read_text_file(folder.write("a", text)) == text);
  CHECK(read_text_file(folder.write("empty", "")).empty());
}

TEST_CASE("a file that cannot be read is named with the reason") {
  const ScratchFolder folder;
  CHECK(message_of<UserError>([&] { read_text_file(folder / "none"); }) ==
        "cannot read " + folder.path() + "/none: No such file or directory");
  CHECK(message_of<UserError>([&] { read_text_file(folder.path()); }) ==
        "cannot read " + folder.path() + ": it is a folder; a regular file is wanted");
}

TEST_CASE("a pattern gives its files, sorted by bytes") {
  const ScratchFolder folder;
  for (const char* name :
       {"b.txt", "a.txt", "B.txt", "a1.txt", "a-1.txt", "\xc3\xa9.txt", "c.json", ".hidden.txt"})
    folder.write(name, "");
  CHECK(matches(folder, "*.txt") == Names{"B.txt", "a-1.txt", "a.txt", "a1.txt", "b.txt", "\xc3\xa9.txt"});
  CHECK(matches(folder, "?.txt") == Names{"B.txt", "a.txt", "b.txt"});
  CHECK(matches(folder, "[ab].txt") == Names{"a.txt", "b.txt"});
  CHECK(matches(folder, "[!a].txt") == Names{"B.txt", "b.txt"});
  CHECK(matches(folder, ".*") == Names{".hidden.txt"});
  CHECK(matches(folder, "c.json") == Names{"c.json"});
}

TEST_CASE("a pattern may have wildcards in folders, and ** for folders of any depth") {
  const ScratchFolder folder;
  for (const char* name : {"top.txt", "x/1.txt", "x/2.txt", "y/1.txt", "x/deep/er/1.txt", ".git/1.txt"})
    folder.write(name, "");
  fs::create_directory_symlink(folder.path(), folder / "x/loop");
  CHECK(matches(folder, "*/1.txt") == Names{"x/1.txt", "y/1.txt"});
  CHECK(matches(folder, "[x]/*.txt") == Names{"x/1.txt", "x/2.txt"});
  CHECK(matches(folder, "**/1.txt") == Names{"x/1.txt", "x/deep/er/1.txt", "y/1.txt"});
  CHECK(matches(folder, "**/*.txt") == Names{"top.txt", "x/1.txt", "x/2.txt", "x/deep/er/1.txt", "y/1.txt"});
  CHECK(matches(folder, "x/**") == Names{"x/1.txt", "x/2.txt", "x/deep/er/1.txt"});
  CHECK(matches(folder, "x/**/er/*") == Names{"x/deep/er/1.txt"});
}

TEST_CASE("folders are skipped by a pattern, and refused when they are one") {
  const ScratchFolder folder;
  folder.write("data/a", "");
  folder.write("b", "");
  CHECK(matches(folder, "*") == Names{"b"});
  const std::string message = message_of<UserError>([&] { expand_glob(folder / "data"); });
  CHECK(message.find((folder / "data") + " is a folder; name the files in it, such as " + (folder / "data") +
                     "/*") == 0);
}

TEST_CASE("a file whose name holds wildcards can be named literally or escaped") {
  const ScratchFolder folder;
  folder.write("a[1].txt", "");
  folder.write("a1.txt", "");
  folder.write("a*", "");
  CHECK(matches(folder, "a[1].txt") == Names{"a[1].txt"});
  CHECK(matches(folder, "a\\*") == Names{"a*"});
}

TEST_CASE("a relative pattern resolves against the working directory") {
  const ScratchFolder folder;
  folder.write("sub/a.txt", "");
  const WorkingDirectory here(folder.path());
  CHECK(expand_glob("sub/*.txt") == Names{"sub/a.txt"});
  CHECK(expand_glob("./sub/*.txt") == Names{"./sub/a.txt"});
  CHECK(expand_glob("sub/../*/a.txt") == Names{"sub/../sub/a.txt"});
}

TEST_CASE("a pattern without a file is refused with the working directory") {
  const ScratchFolder folder;
  const WorkingDirectory here(folder.path());
  for (const char* pattern : {"*.txt", "none/*.txt", "none", "", "x/", "**", "**/y"}) {
    CAPTURE(pattern);
    CHECK(message_of<UserError>([&] { expand_glob(pattern); }) ==
          fmt::format("no file matches '{}' (working directory {})", pattern, fs::current_path().string()));
  }
}

TEST_CASE("a file is written or replaced durably, and nothing else is left in its folder") {
  const ScratchFolder folder;
  const std::string path = folder / "manifest.json";
  write_file_durably(path, "first");
  CHECK(read_text_file(path) == "first");
  write_file_durably(path, std::string_view("sec\0nd", 6));
  CHECK(read_text_file(path) == std::string("sec\0nd", 6));
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
  const WorkingDirectory here(folder.path());
  write_file_durably("plain", "");
  CHECK(read_text_file("plain").empty());
}

TEST_CASE("a write that fails leaves the old file, no other one, and says why") {
  const ScratchFolder folder;
  const std::string path = folder.write("kept", "old");
  std::string message;
  {
    const FileSizeLimit limit(1000);
    message = message_of<RunError>([&] { write_file_durably(path, std::string(5000, 'x')); });
  }
  CHECK(message == "cannot write " + path + ": File too large");
  CHECK(read_text_file(path) == "old");
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
  CHECK(message_of<RunError>([&] { write_file_durably(folder / "no/such", "x"); }) ==
        "cannot write " + folder.path() + "/no/such: No such file or directory");
  CHECK(message_of<RunError>([&] { fsync_directory(folder / "no"); }) ==
        "cannot open folder " + folder.path() + "/no: No such file or directory");
}
