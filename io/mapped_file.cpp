#include "io/mapped_file.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.hpp"
#include "base/limits.hpp"
#include "base/regular_file.hpp"

namespace collie {

MappedFile::MappedFile(const std::filesystem::path& file) : path_(file) {
  const RegularFile opened = open_regular_file(file.string());
  if (opened.bytes == 0) return;
  void* address = ::mmap(nullptr, opened.bytes, PROT_READ, MAP_PRIVATE, opened.descriptor.get(), 0);
  if (address == MAP_FAILED) {
    const int code = errno;
    check_shortage(code, "cannot read " + file.string());
    throw UserError("cannot read {}: {}", file.string(), std::strerror(code));
  }
  bytes_ = {static_cast<const std::byte*>(address), opened.bytes};
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace collie
