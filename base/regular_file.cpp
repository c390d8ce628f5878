#include "base/regular_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/error.hpp"
#include "base/limits.hpp"
#include "base/quote.hpp"

namespace collie {

namespace {

constexpr size_t longest_path = 4096;  // PATH_MAX: the system refuses longer ones

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
  throw UserError("cannot read {}: {}", shortened(path, longest_path), reason);
}

[[noreturn]] void refuse(const std::string& path, int code) {
  check_shortage(code, "cannot read " + shortened(path, longest_path));
  refuse(path, std::generic_category().message(code));
}

void check_kind(const std::string& path, mode_t mode) {
  if (S_ISREG(mode)) return;
  const char* kind = S_ISDIR(mode)    ? "a folder"
                     : S_ISFIFO(mode) ? "a pipe"
                     : S_ISSOCK(mode) ? "a socket"
                                      : "a device";
  refuse(path, fmt::format("it is {}; a regular file is wanted", kind));
}

[[noreturn]] void refuse_size(const std::string& path, uint64_t most) {
  refuse(path, fmt::format("it is longer than {} bytes, which is more than any file of its kind has", most));
}

}  // namespace

void check_regular_file(const std::string& path, const std::string& key) {
  try {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) refuse(path, errno);
    check_kind(path, status.st_mode);
  } catch (const UserError& error) {
    if (key.empty()) throw;
    throw UserError("{}: {}", key, error.what());
  }
}

RegularFile open_regular_file(const std::string& path) {
  check_regular_file(path);  // opening a device may do something, and opening a pipe may wait
  Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!descriptor.is_open()) refuse(path, errno);
  struct stat status {};
  if (::fstat(descriptor.get(), &status) != 0) refuse(path, errno);
  check_kind(path, status.st_mode);  // another file may have taken its place
  return {std::move(descriptor), static_cast<uint64_t>(status.st_size)};
}

std::string read_all(int descriptor, const std::string& path, uint64_t most) {
  std::string text;
  size_t size = 0;
  while (true) {
    if (size > most) refuse_size(path, most);
    if (text.size() < size + 65536) text.resize(std::max<size_t>(2 * size, 65536));
    const ssize_t count = ::read(descriptor, text.data() + size, text.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) refuse(path, errno);
    if (count == 0) break;
    size += static_cast<size_t>(count);
  }
  text.resize(size);
  return text;
}

std::string read_regular_file(const std::string& path, uint64_t most) {
  const RegularFile file = open_regular_file(path);
  if (file.bytes > most)
    refuse(path, fmt::format("it has {} bytes, and no file of its kind has more than {}", file.bytes, most));
  return read_all(file.descriptor.get(), path, most);
}

}  // namespace collie
