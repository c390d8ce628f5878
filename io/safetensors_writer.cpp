#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/error.hpp"
#include "base/sha256.hpp"
#include "io/safetensors.hpp"

namespace collie {

namespace {

// A file being written. It hashes what passes through, and removes the file unless finish() was reached.
class HashedFile {
 public:
  explicit HashedFile(const std::filesystem::path& file) : path_(file) {
    descriptor_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor_ < 0) fail();
  }
  HashedFile(const HashedFile&) = delete;
  HashedFile& operator=(const HashedFile&) = delete;

  ~HashedFile() {
    if (descriptor_ < 0) return;
    struct stat status {};
    const bool regular = ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
    ::close(descriptor_);
    if (regular) ::unlink(path_.c_str());
  }

  void write(std::span<const std::byte> bytes) {
    constexpr size_t piece_bytes = size_t{1} << 20;  // still in the cache when it is hashed
    while (!bytes.empty()) {
      const ssize_t count = ::write(descriptor_, bytes.data(), std::min(bytes.size(), piece_bytes));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail();
      if (count == 0) {
        errno = ENOSPC;
        fail();
      }
      hash_.update(bytes.first(static_cast<size_t>(count)));
      total_ += static_cast<uint64_t>(count);
      bytes = bytes.subspan(static_cast<size_t>(count));
    }
  }

  WrittenSafetensors finish(bool durable) {
    if (durable && ::fsync(descriptor_) != 0) fail();
    struct stat status {};
    const bool regular = ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
    // Some file systems (NFS, quotas) report a failed write only here.
    if (::close(std::exchange(descriptor_, -1)) != 0) {
      const int reason = errno;
      if (regular) ::unlink(path_.c_str());
      errno = reason;
      fail();
    }
    return {total_, hash_.finish()};
  }

 private:
  [[noreturn]] void fail() const {
    throw RunError("cannot write {}: {} ({} bytes were written)", path_.string(), std::strerror(errno),
                   total_);
  }

  std::filesystem::path path_;
  int descriptor_ = -1;
  uint64_t total_ = 0;
  Sha256 hash_;
};

uint64_t byte_count(const SafetensorsItem& item) {
  const auto bits = safetensors_element_bits(item.dtype);
  COLLIE_ASSERT(bits.has_value(), "tensor '{}': safetensors has no dtype '{}'", item.name, item.dtype);
  int64_t count = *bits;
  for (const int64_t size : item.shape)
    COLLIE_ASSERT(size >= 0 && !__builtin_mul_overflow(count, size, &count),
                  "tensor '{}': size {} in its shape", item.name, size);
  COLLIE_ASSERT(count % 8 == 0, "tensor '{}': {} bits are no whole number of bytes", item.name, count);
  return static_cast<uint64_t>(count / 8);
}

// Larger elements come first, otherwise the order is kept. Then every tensor starts at a multiple of its
// element.
std::vector<const SafetensorsItem*> aligned_order(std::span<const SafetensorsItem> items) {
  std::vector<const SafetensorsItem*> order;
  std::set<std::string_view> names;
  for (const auto& item : items) {
    COLLIE_ASSERT(item.name != "__metadata__" && names.insert(item.name).second,
                  "tensor '{}' is given twice or has a reserved name", item.name);
    order.push_back(&item);
  }
  std::stable_sort(order.begin(), order.end(), [](const SafetensorsItem* a, const SafetensorsItem* b) {
    return safetensors_element_bits(a->dtype).value_or(0) > safetensors_element_bits(b->dtype).value_or(0);
  });
  return order;
}

std::string make_header(const std::vector<const SafetensorsItem*>& order,
                        const std::map<std::string, std::string>& metadata) {
  // The text is put together by hand, because nlohmann's ordered_json would search all keys at each
  // insertion.
  std::string header = "{";
  if (!metadata.empty()) header += "\"__metadata__\":" + nlohmann::json(metadata).dump();
  uint64_t offset = 0;
  for (const SafetensorsItem* item : order) {
    const uint64_t end = offset + byte_count(*item);
    header += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}}",
                          header.size() > 1 ? "," : "", nlohmann::json(item->name).dump(), item->dtype,
                          nlohmann::json(item->shape).dump(), offset, end);
    offset = end;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');  // so that the data start aligned
  return header;
}

}  // namespace

WrittenSafetensors write_safetensors(const std::filesystem::path& file,
                                     std::span<const SafetensorsItem> items, bool durable,
                                     const std::map<std::string, std::string>& metadata) {
  const auto order = aligned_order(items);
  const std::string header = make_header(order, metadata);
  const uint64_t length = header.size();
  HashedFile out(file);
  out.write(std::as_bytes(std::span(&length, 1)));
  out.write(std::as_bytes(std::span(header)));
  for (const SafetensorsItem* item : order) {
    const auto bytes = item->bytes();
    COLLIE_ASSERT(bytes.size() == byte_count(*item),
                  "tensor '{}': {} bytes were provided, its shape and dtype take {}", item->name,
                  bytes.size(), byte_count(*item));
    out.write(bytes);
  }
  return out.finish(durable);
}

}  // namespace collie
