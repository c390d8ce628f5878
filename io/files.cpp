#include "io/files.hpp"

#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "base/descriptor.hpp"
#include "base/error.hpp"
#include "base/limits.hpp"
#include "base/quote.hpp"
#include "base/regular_file.hpp"
#include "base/sha256.hpp"

namespace collie {

namespace fs = std::filesystem;

namespace {

std::string errno_text(int code) {
  return std::generic_category().message(code);
}

bool write_all(int fd, std::span<const std::byte> bytes) {
  constexpr size_t kLargestWrite = size_t{1} << 30;  // Linux writes a little less than 2 GiB per call
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), std::min(bytes.size(), kLargestWrite));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return true;
}

// Returns the number of bytes read; 0 at the end of the file.
size_t read_some(int fd, std::span<std::byte> bytes, const std::string& path) {
  while (true) {
    const ssize_t count = ::read(fd, bytes.data(), bytes.size());
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR) throw UserError("cannot read {}: {}", path, errno_text(errno));
  }
}

std::string folder_of(const std::string& path) {
  const std::string folder = fs::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

// A name beside `path` that no other writer uses, in this process or another.
std::string temporary_name(const std::string& path) {
  static std::atomic<unsigned> counter{0};
  const fs::path target(path);
  const std::string name = fmt::format(".{}.{}-{}.tmp", target.filename().string(), ::getpid(), counter++);
  return (target.parent_path() / name).string();
}

bool has_wildcard(std::string_view name) {
  return name.find_first_of("*?[\\") != std::string_view::npos;
}

std::vector<std::string> split_at_slashes(const std::string& pattern) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin <= pattern.size()) {
    const size_t end = std::min(pattern.find('/', begin), pattern.size());
    if (end > begin) parts.push_back(pattern.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// Walks the folders along the parts of a pattern and collects the files at its end.
class GlobWalk {
 public:
  explicit GlobWalk(std::vector<std::string> parts) : parts_(std::move(parts)) {}

  // `prefix` is the part that is settled so far: "", or a folder with its slash.
  void walk(const std::string& prefix, size_t part) {
    if (parts_[part] == "**") return walk_any_depth(prefix, part);
    if (!has_wildcard(parts_[part])) return arrive(prefix + parts_[part], part);
    for (const fs::directory_entry& entry : entries(prefix)) {
      const std::string name = entry.path().filename().string();
      if (::fnmatch(parts_[part].c_str(), name.c_str(), FNM_PERIOD) == 0) arrive(prefix + name, part);
    }
  }

  std::set<std::string> files;

 private:
  void arrive(const std::string& path, size_t part) {
    std::error_code ignored;
    if (part + 1 < parts_.size()) {
      if (fs::is_directory(path, ignored)) walk(path + "/", part + 1);
    } else if (fs::exists(path, ignored) && !fs::is_directory(path, ignored)) {
      files.insert(path);
    }
  }

  void walk_any_depth(const std::string& prefix, size_t part) {
    if (part + 1 < parts_.size()) walk(prefix, part + 1);
    for (const fs::directory_entry& entry : entries(prefix)) {
      const std::string name = entry.path().filename().string();
      std::error_code ignored;
      if (name.front() == '.') continue;
      if (entry.is_directory(ignored) && !entry.is_symlink(ignored))
        walk_any_depth(prefix + name + "/", part);
      else if (part + 1 == parts_.size())
        arrive(prefix + name, part);
    }
  }

  static std::vector<fs::directory_entry> entries(const std::string& prefix) {
    const std::string folder = prefix.empty() ? "." : prefix;
    std::error_code error;
    if (!fs::is_directory(folder, error)) return {};
    std::vector<fs::directory_entry> all;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
      all.push_back(*it);
    // Silently missing data would be worse than a refusal.
    if (error) throw UserError("cannot list {}: {}", folder, error.message());
    return all;
  }

  std::vector<std::string> parts_;
};

}  // namespace

std::string read_text_file(const std::string& path) {
  return read_regular_file(path);
}

std::string read_stream(const std::string& path, uint64_t most) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) {
    const int code = errno;
    check_shortage(code, "cannot read " + path);
    throw UserError("cannot read {}: {}", path, errno_text(code));
  }
  return read_all(file.get(), path, most);
}

std::string sha256_of_file(const std::string& path) {
  const RegularFile file = open_regular_file(path);
  std::vector<std::byte> piece(size_t{1} << 20);  // still in the cache when it is hashed
  Sha256 hash;
  while (const size_t count = read_some(file.descriptor.get(), piece, path))
    hash.update(std::span(piece).first(count));
  return hash.finish();
}

bool may_be_there(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error) || error;
}

std::vector<std::string> expand_glob(const std::string& pattern) {
  std::error_code ignored;
  const std::string working_directory = fs::current_path(ignored).string();
  if (fs::exists(pattern, ignored) && !fs::is_directory(pattern, ignored)) return {pattern};
  if (fs::is_directory(pattern, ignored))
    throw UserError("{} is a folder; name the files in it, such as {}{}* (working directory {})", pattern,
                    pattern, pattern.back() == '/' ? "" : "/", working_directory);
  GlobWalk glob(split_at_slashes(pattern));
  if (!pattern.empty() && pattern.back() != '/' && pattern != "/")
    glob.walk(pattern.front() == '/' ? "/" : "", 0);
  if (glob.files.empty())
    throw UserError("no file matches '{}' (working directory {})", pattern, working_directory);
  return {glob.files.begin(), glob.files.end()};
}

fs::file_type entry_type(const fs::path& path) noexcept {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type();
}

bool is_within(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

void write_file_durably(const std::string& path, std::span<const std::byte> bytes) {
  const std::string temporary = temporary_name(path);
  Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!file.is_open()) throw RunError("cannot write {}: {}", path, errno_text(errno));
  const bool written = write_all(file.get(), bytes) && ::fsync(file.get()) == 0 && file.close() &&
                       std::rename(temporary.c_str(), path.c_str()) == 0;
  if (!written) {
    const int code = errno;
    ::unlink(temporary.c_str());
    throw RunError("cannot write {}: {}", path, errno_text(code));
  }
  fsync_directory(folder_of(path));
}

void write_file_durably(const std::string& path, std::string_view text) {
  write_file_durably(path, std::as_bytes(std::span(text.data(), text.size())));
}

void create_file(const std::string& path, std::string_view text) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!file.is_open() || !write_all(file.get(), std::as_bytes(std::span(text))) || !file.close())
    throw RunError("cannot write {}: {}", path, errno_text(errno));
}

void fsync_directory(const std::string& path) {
  Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.is_open()) throw RunError("cannot open folder {}: {}", path, errno_text(errno));
  // Some file systems have no fsync for folders and say EINVAL. Nothing more can be asked of them.
  if (::fsync(folder.get()) != 0 && errno != EINVAL)
    throw RunError("cannot sync folder {}: {}", path, errno_text(errno));
}

}  // namespace collie
