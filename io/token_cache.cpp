#include "io/token_cache.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/error.hpp"
#include "io/mapped_file.hpp"

namespace collie {

namespace {

static_assert(std::endian::native == std::endian::little, "token caches are little-endian");

struct Header {
  char magic[8] = {'C', 'O', 'L', 'L', 'I', 'E', 'T', 'K'};
  uint32_t version = 2;
  uint32_t header_bytes = 128;
  char key[64] = {};
  uint64_t tokens = 0;
  uint64_t documents = 0;
  uint64_t spans = 0;
  uint64_t payload_checksum = 0;
  uint64_t header_checksum = 0;  // of everything before it
  char unused[8] = {};
};
static_assert(sizeof(Header) == 128);

// This is not cryptographic: it finds accidents (torn writes, flipped bits) at the speed of memory. It has
// four lanes of 64 bits.
uint64_t checksum(std::span<const std::byte> bytes) {
  constexpr uint64_t factor = 0x9e3779b97f4a7c15u;
  std::array<uint64_t, 4> lanes = {1, 2, 3, 4};
  const auto mix = [](uint64_t lane, uint64_t word) { return std::rotl((lane ^ word) * factor, 29); };
  while (bytes.size() >= sizeof(lanes)) {
    std::array<uint64_t, 4> words;
    std::memcpy(words.data(), bytes.data(), sizeof(words));
    for (size_t i = 0; i < lanes.size(); ++i) lanes[i] = mix(lanes[i], words[i]);
    bytes = bytes.subspan(sizeof(words));
  }
  uint64_t sum = bytes.size();
  for (const std::byte byte : bytes) sum = mix(sum, std::to_integer<uint64_t>(byte));
  for (const uint64_t lane : lanes) sum = mix(sum, lane);
  return sum ^ (sum >> 32);
}

uint64_t header_checksum(const Header& header) {
  return checksum(std::as_bytes(std::span(&header, 1)).first(offsetof(Header, header_checksum)));
}

uint64_t token_bytes(uint64_t tokens) {
  return (tokens * sizeof(int32_t) + 7) / 8 * 8;
}

std::string unique_suffix() {
  static std::atomic<uint64_t> count{0};
  return fmt::format(".{}.{}.tmp", ::getpid(), count++);
}

}  // namespace

TokenCacheWriter::TokenCacheWriter(std::filesystem::path file, std::string key)
    : file_(std::move(file)), temporary_(file_.string() + unique_suffix()), key_(std::move(key)) {
  COLLIE_ASSERT(key_.size() == sizeof(Header::key), "a cache's key has {} digits", key_.size());
  ::unlink(temporary_.c_str());  // of a dead process that had our number
  descriptor_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail();
  const Header empty;
  write(&empty, sizeof(empty));
}

TokenCacheWriter::~TokenCacheWriter() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void TokenCacheWriter::fail() const {
  throw RunError("cannot write the token cache {}: {}", temporary_.string(), std::strerror(errno));
}

void TokenCacheWriter::write(const void* data, size_t size) {
  constexpr size_t full = size_t{4} << 20;
  const auto* bytes = static_cast<const std::byte*>(data);
  while (size > 0) {
    const size_t part = std::min(size, full - buffer_.size());
    buffer_.insert(buffer_.end(), bytes, bytes + part);
    bytes += part;
    size -= part;
    if (buffer_.size() == full) flush();
  }
}

void TokenCacheWriter::flush() {
  for (size_t done = 0; done < buffer_.size();) {
    const ssize_t count = ::write(descriptor_, buffer_.data() + done, buffer_.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail();
    done += static_cast<size_t>(count);
  }
  buffer_.clear();
}

void TokenCacheWriter::add(std::span<const int32_t> tokens, std::span<const TokenSpan> targets) {
  check_spans(tokens.size(), targets);
  write(tokens.data(), tokens.size_bytes());
  targets_.insert(targets_.end(), targets.begin(), targets.end());
  offsets_.push_back(offsets_.back() + tokens.size());
  first_spans_.push_back(targets_.size());
}

void TokenCacheWriter::finish() {
  Header header;
  header.tokens = offsets_.back();
  header.documents = offsets_.size() - 1;
  header.spans = targets_.size();
  std::memcpy(header.key, key_.data(), sizeof(header.key));
  constexpr std::array<std::byte, 8> zeros{};
  write(zeros.data(), token_bytes(header.tokens) - header.tokens * sizeof(int32_t));
  write(offsets_.data(), offsets_.size() * sizeof(uint64_t));
  write(first_spans_.data(), first_spans_.size() * sizeof(uint64_t));
  write(targets_.data(), targets_.size() * sizeof(TokenSpan));
  flush();
  header.payload_checksum = checksum(MappedFile(temporary_).bytes().subspan(sizeof(Header)));
  header.header_checksum = header_checksum(header);
  if (::pwrite(descriptor_, &header, sizeof(header), 0) != static_cast<ssize_t>(sizeof(header))) fail();
  // No fsync is needed: what a loss of power may leave here fails its checksum, and is made anew.
  if (::rename(temporary_.c_str(), file_.c_str()) != 0) fail();
  ::close(descriptor_);
  descriptor_ = -1;
}

namespace {

// The reason why the mapped file is not the cache of `key`; empty if it is.
std::string find_fault(std::span<const std::byte> bytes, const std::string& key, Header& header) {
  const Header expected;
  if (bytes.size() < sizeof(header)) return "it is shorter than its header";
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (std::memcmp(header.magic, expected.magic, sizeof(header.magic)) != 0) return "it is not a token cache";
  if (header.version != expected.version || header.header_bytes != expected.header_bytes)
    return fmt::format("it has version {}, not {}", header.version, expected.version);
  if (header.header_checksum != header_checksum(header)) return "its header is damaged";
  if (std::memcmp(header.key, key.data(), sizeof(header.key)) != 0) return "it was made from something else";
  const uint64_t most = bytes.size() / sizeof(int32_t);  // keeps the products below from overflowing
  if (header.tokens > most || header.documents > most || header.spans > most ||
      bytes.size() != sizeof(header) + token_bytes(header.tokens) +
                          2 * (header.documents + 1) * sizeof(uint64_t) + header.spans * sizeof(TokenSpan))
    return "it has the wrong size";
  if (header.payload_checksum != checksum(bytes.subspan(sizeof(header)))) return "its contents are damaged";
  return "";
}

// `limits` go from 0 to `size` and never fall.
bool are_limits(std::span<const uint64_t> limits, size_t size) {
  return limits.front() == 0 && limits.back() == size && std::is_sorted(limits.begin(), limits.end());
}

bool are_spans(std::span<const TokenSpan> spans, uint64_t tokens) {
  int32_t free = 0;
  for (const TokenSpan& span : spans) {
    if (span.begin < free || span.end <= span.begin || static_cast<uint64_t>(span.end) > tokens) return false;
    free = span.end;
  }
  return true;
}

std::string find_fault(const DocumentBlock& block, int64_t vocab_size) {
  if (!are_limits(block.offsets, block.tokens.size()) || !are_limits(block.first_spans, block.targets.size()))
    return "its offsets are wrong";
  for (size_t i = 0; i + 1 < block.offsets.size(); ++i) {
    const uint64_t first = block.first_spans[i], last = block.first_spans[i + 1];
    if (!are_spans(block.targets.subspan(first, last - first), block.offsets[i + 1] - block.offsets[i]))
      return "its documents are wrong";
  }
  for (const int32_t token : block.tokens)
    if (token < 0 || token >= vocab_size) return fmt::format("it has id {}, outside the vocabulary", token);
  return "";
}

// Small caches are copied: a process may have only some 65,000 mappings, and a data set may have more files.
std::span<const std::byte> read_or_map(const std::filesystem::path& file,
                                       std::shared_ptr<const void>& owner) {
  constexpr size_t small = size_t{1} << 20;
  auto map = std::make_shared<const MappedFile>(file);
  const auto mapped = map->bytes();
  if (mapped.size() >= small) {
    owner = std::move(map);
    return mapped;
  }
  const auto copy = std::make_shared<const std::vector<std::byte>>(mapped.begin(), mapped.end());
  owner = copy;
  return *copy;
}

}  // namespace

std::optional<DocumentBlock> open_token_cache(const std::filesystem::path& file, const std::string& key,
                                              int64_t vocab_size, std::string& reason) {
  reason.clear();
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return std::nullopt;
  std::shared_ptr<const void> owner;
  std::span<const std::byte> bytes;
  try {
    bytes = read_or_map(file, owner);
  } catch (const UserError& error) {
    reason = error.what();
    return std::nullopt;
  }
  Header header;
  reason = find_fault(bytes, key, header);
  if (!reason.empty()) return std::nullopt;
  const std::byte* tokens = bytes.data() + sizeof(header);
  const std::byte* offsets = tokens + token_bytes(header.tokens);
  const std::byte* first_spans = offsets + (header.documents + 1) * sizeof(uint64_t);
  const std::byte* targets = first_spans + (header.documents + 1) * sizeof(uint64_t);
  const DocumentBlock block{{reinterpret_cast<const int32_t*>(tokens), header.tokens},
                            {reinterpret_cast<const uint64_t*>(offsets), header.documents + 1},
                            {reinterpret_cast<const TokenSpan*>(targets), header.spans},
                            {reinterpret_cast<const uint64_t*>(first_spans), header.documents + 1},
                            owner};
  reason = find_fault(block, vocab_size);
  if (!reason.empty()) return std::nullopt;
  return block;
}

}  // namespace collie
