#include "io/positional_file.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.hpp"

namespace collie {

PositionalFile::PositionalFile(const std::filesystem::path& file)
    : path_(file), file_(open_regular_file(file.string())) {}

void PositionalFile::read(uint64_t begin, std::span<std::byte> bytes) const {
  constexpr size_t most = size_t{1} << 30;  // Linux reads a little less than 2 GiB per call
  while (!bytes.empty()) {
    const ssize_t count = ::pread(file_.descriptor.get(), bytes.data(), std::min(bytes.size(), most),
                                  static_cast<off_t>(begin));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw UserError("cannot read {}: {}", path_.string(), std::strerror(errno));
    if (count == 0)
      throw UserError("cannot read {}: it ends at byte {}, and had {} when it was opened", path_.string(),
                      begin, size());
    begin += static_cast<uint64_t>(count);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
}

}  // namespace collie
