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
#include <utility>

#include "base/error.hpp"
#include "io/file_hash.hpp"
#include "io/mapped_file.hpp"
#include "io/positional_file.hpp"

namespace collie {

namespace {

static_assert(std::endian::native == std::endian::little, "token caches are little-endian");

struct Header {
  char magic[8] = {'C', 'O', 'L', 'L', 'I', 'E', 'T', 'K'};
  uint32_t version = 3;
  uint32_t header_bytes = 192;
  char key[64] = {};
  uint64_t tokens = 0;
  uint64_t documents = 0;
  uint64_t spans = 0;
  uint64_t findings_bytes = 0;
  uint64_t token_checksum = 0;   // of the tokens and the zeros behind them
  uint64_t index_checksum = 0;   // of all that follows
  uint64_t header_checksum = 0;  // of everything before it
  char unused[56] = {};
};
static_assert(sizeof(Header) == 192);

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

// A part of the file has the checksums of its blocks of that size, one after another.
constexpr size_t block_bytes = size_t{1} << 20;

uint64_t add_block(uint64_t sum, std::span<const std::byte> block) {
  const uint64_t both[] = {sum, checksum(block)};
  return checksum(std::as_bytes(std::span(both)));
}

uint64_t checksum_in_blocks(std::span<const std::byte> bytes) {
  uint64_t sum = 0;
  for (; !bytes.empty(); bytes = bytes.subspan(std::min(block_bytes, bytes.size())))
    sum = add_block(sum, bytes.first(std::min(block_bytes, bytes.size())));
  return sum;
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
  write_whole(&empty, sizeof(empty));
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
  const auto* bytes = static_cast<const std::byte*>(data);
  while (size > 0) {
    const size_t part = std::min(size, block_bytes - buffer_.size());
    buffer_.insert(buffer_.end(), bytes, bytes + part);
    bytes += part;
    size -= part;
    if (buffer_.size() == block_bytes) flush();
  }
}

void TokenCacheWriter::flush() {
  if (buffer_.empty()) return;
  checksum_ = add_block(checksum_, buffer_);
  write_whole(buffer_.data(), buffer_.size());
  buffer_.clear();
}

void TokenCacheWriter::write_whole(const void* data, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t count = ::write(descriptor_, static_cast<const char*>(data) + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail();
    done += static_cast<size_t>(count);
  }
}

void TokenCacheWriter::end_part(uint64_t& checksum) {
  flush();
  checksum = std::exchange(checksum_, 0);
}

void TokenCacheWriter::add(std::span<const int32_t> tokens, std::span<const TokenSpan> targets) {
  check_spans(tokens.size(), targets);
  write(tokens.data(), tokens.size_bytes());
  targets_.insert(targets_.end(), targets.begin(), targets.end());
  offsets_.push_back(offsets_.back() + tokens.size());
  first_spans_.push_back(targets_.size());
}

void TokenCacheWriter::finish(const std::string& findings) {
  Header header;
  header.tokens = offsets_.back();
  header.documents = offsets_.size() - 1;
  header.spans = targets_.size();
  header.findings_bytes = findings.size();
  std::memcpy(header.key, key_.data(), sizeof(header.key));
  constexpr std::array<std::byte, 8> zeros{};
  write(zeros.data(), token_bytes(header.tokens) - header.tokens * sizeof(int32_t));
  end_part(header.token_checksum);
  for (const uint64_t offset : offsets_) write(&offset, sizeof(offset));
  for (const uint64_t first : first_spans_) write(&first, sizeof(first));
  for (const TokenSpan& span : targets_) write(&span, sizeof(span));
  write(findings.data(), findings.size());
  end_part(header.index_checksum);
  header.header_checksum = header_checksum(header);
  if (::pwrite(descriptor_, &header, sizeof(header), 0) != static_cast<ssize_t>(sizeof(header))) fail();
  // No fsync is needed: what a loss of power may leave here fails its checksum, and is made anew.
  if (::rename(temporary_.c_str(), file_.c_str()) != 0) fail();
  ::close(descriptor_);
  descriptor_ = -1;
}

namespace {

// The reason why a file of so many bytes is not the cache of `key`; empty if it may be.
std::string find_fault(const Header& header, uint64_t bytes, const std::string& key) {
  const Header expected;
  if (std::memcmp(header.magic, expected.magic, sizeof(header.magic)) != 0) return "it is not a token cache";
  if (header.version < expected.version) return cache_of_earlier_version;
  if (header.version != expected.version || header.header_bytes != expected.header_bytes)
    return fmt::format("it has version {}, not {}", header.version, expected.version);
  if (header.header_checksum != header_checksum(header)) return "its header is damaged";
  if (std::memcmp(header.key, key.data(), sizeof(header.key)) != 0) return "it was made from something else";
  const uint64_t most = bytes / sizeof(int32_t);  // keeps the products below from overflowing
  if (header.tokens > most || header.documents > most || header.spans > most ||
      header.findings_bytes > bytes ||
      bytes != sizeof(header) + token_bytes(header.tokens) + 2 * (header.documents + 1) * sizeof(uint64_t) +
                   header.spans * sizeof(TokenSpan) + header.findings_bytes)
    return "it has the wrong size";
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

std::string find_fault(const DocumentBlock& block) {
  if (!are_limits(block.offsets, block.tokens.size()) || !are_limits(block.first_spans, block.targets.size()))
    return "its offsets are wrong";
  for (size_t i = 0; i + 1 < block.offsets.size(); ++i) {
    const uint64_t first = block.first_spans[i], last = block.first_spans[i + 1];
    if (!are_spans(block.targets.subspan(first, last - first), block.offsets[i + 1] - block.offsets[i]))
      return "its documents are wrong";
  }
  return "";
}

// Reads the tokens from the file, block by block.
std::string find_fault_in_tokens(const PositionalFile& file, const Header& header, int64_t vocab_size) {
  std::vector<std::byte> block;
  uint64_t sum = 0, left = header.tokens;
  for (uint64_t done = 0; done < token_bytes(header.tokens); done += block.size()) {
    block.resize(static_cast<size_t>(std::min<uint64_t>(block_bytes, token_bytes(header.tokens) - done)));
    file.read(sizeof(header) + done, block);
    sum = add_block(sum, block);
    const auto* tokens = reinterpret_cast<const int32_t*>(block.data());
    const uint64_t count = std::min<uint64_t>(left, block.size() / sizeof(int32_t));
    left -= count;
    for (uint64_t i = 0; i < count; ++i)
      if (tokens[i] < 0 || tokens[i] >= vocab_size)
        return fmt::format("it has id {}, outside the vocabulary", tokens[i]);
  }
  return sum == header.token_checksum ? "" : "its contents are damaged";
}

// Small caches are copied: a process may have only some 65,000 mappings, and a data set may have more files.
constexpr size_t small = size_t{1} << 20;

std::span<const std::byte> read_or_map(const std::filesystem::path& file,
                                       std::shared_ptr<const void>& owner) {
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

TokenCache cache_in(std::span<const std::byte> bytes, const Header& header, std::shared_ptr<const void> owner,
                    std::shared_ptr<const PositionalFile> file) {
  const std::byte* tokens = bytes.data() + sizeof(header);
  const std::byte* offsets = tokens + token_bytes(header.tokens);
  const std::byte* first_spans = offsets + (header.documents + 1) * sizeof(uint64_t);
  const std::byte* targets = first_spans + (header.documents + 1) * sizeof(uint64_t);
  const std::byte* findings = targets + header.spans * sizeof(TokenSpan);
  return {{{reinterpret_cast<const int32_t*>(tokens), header.tokens},
           {reinterpret_cast<const uint64_t*>(offsets), header.documents + 1},
           {reinterpret_cast<const TokenSpan*>(targets), header.spans},
           {reinterpret_cast<const uint64_t*>(first_spans), header.documents + 1},
           std::move(owner),
           bytes.size() >= small ? std::move(file) : nullptr,
           sizeof(header)},
          {reinterpret_cast<const char*>(findings), header.findings_bytes}};
}

TokenCache open_cache(const std::filesystem::path& file, const std::string& key, int64_t vocab_size,
                      std::string& reason) {
  const FileMemory memory(file.string(), file.parent_path(), ".verified");
  const auto opened = std::make_shared<const PositionalFile>(file);
  Header header;
  reason = opened->size() < sizeof(header) ? "it is shorter than its header" : "";
  if (!reason.empty()) return {};
  opened->read(0, std::as_writable_bytes(std::span(&header, 1)));
  reason = find_fault(header, opened->size(), key);
  if (!reason.empty()) return {};
  std::shared_ptr<const void> owner;
  const std::span<const std::byte> bytes = read_or_map(file, owner);
  if (bytes.size() != opened->size()) reason = "it has changed while it was opened";
  if (!reason.empty()) return {};
  const size_t index = sizeof(header) + token_bytes(header.tokens);
  if (checksum_in_blocks(bytes.subspan(index)) != header.index_checksum) reason = "its contents are damaged";
  if (!reason.empty()) return {};
  TokenCache cache = cache_in(bytes, header, owner, opened);
  reason = find_fault(cache.block);
  const std::string verified = fmt::format("{} {}", key, vocab_size);
  if (!reason.empty() || (bytes.size() >= small && memory.recall() == verified)) return cache;
  reason = find_fault_in_tokens(*opened, header, vocab_size);
  if (reason.empty() && bytes.size() >= small) memory.keep(verified);
  return cache;
}

}  // namespace

std::optional<TokenCache> open_token_cache(const std::filesystem::path& file, const std::string& key,
                                           int64_t vocab_size, std::string& reason) {
  reason.clear();
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return std::nullopt;
  try {
    TokenCache cache = open_cache(file, key, vocab_size, reason);
    if (reason.empty()) return cache;
  } catch (const UserError& error) {
    reason = error.what();
  }
  return std::nullopt;
}

}  // namespace collie
