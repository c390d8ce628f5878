// The tokens of one data file on disk, to be mapped into memory.
//
// Layout (little-endian): a header of 192 bytes (token_cache.cpp), int32 tokens[T], zeros up to a multiple of
// 8, uint64 offsets[D + 1], uint64 first_spans[D + 1], int32 targets[S][2], and what was found while the file
// was tokenised, as text (io/data_findings.hpp).
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/dataset.hpp"

namespace collie {

// The fault of a cache that is right but for this. Nobody need know of it.
constexpr const char* cache_of_earlier_version = "it was made by an earlier version";

// Writes a cache beside its place and renames it into place when it is complete, so that readers and other
// writers never see a part of one. If it is destroyed without finish(), nothing is left.
class TokenCacheWriter {
 public:
  // `key` (64 hexadecimal digits) says what the tokens were made from. Throws RunError naming the file and
  // the reason.
  TokenCacheWriter(std::filesystem::path file, std::string key);
  ~TokenCacheWriter();
  TokenCacheWriter(const TokenCacheWriter&) = delete;
  TokenCacheWriter& operator=(const TokenCacheWriter&) = delete;

  void add(std::span<const int32_t> tokens, std::span<const TokenSpan> targets);
  // `findings`: a text that is kept with the tokens.
  void finish(const std::string& findings = "");

 private:
  void write(const void* data, size_t size);
  void end_part(uint64_t& checksum);
  void write_whole(const void* data, size_t size);
  void flush();
  [[noreturn]] void fail() const;

  std::filesystem::path file_, temporary_;
  std::string key_;
  int descriptor_ = -1;
  std::vector<std::byte> buffer_;
  uint64_t checksum_ = 0;  // of the part's blocks that are flushed
  // 24 bytes a document with one span. A deque does not double what it holds to grow.
  std::deque<uint64_t> offsets_ = {0}, first_spans_ = {0};
  std::deque<TokenSpan> targets_;
};

struct TokenCache {
  DocumentBlock block;
  std::string findings;
};

// Maps the cache at `file`. Header, offsets and spans are always verified, which takes O(documents). The
// tokens are, too (checksum, and ids against `vocab_size`), but not again while the file is as it was when
// they were last found right: that is remembered beside it as FileHash remembers (io/file_hash.hpp), by
// device, inode, size and times. So a disk that returns other bytes of an unchanged file is not noticed.
// Caches below 1 MiB are verified each time. Verifying reads the file in pieces, which do not count as memory
// of the process.
//
// Returns nothing if there is no cache. It also returns nothing, and `reason` says why, if the cache is
// broken, of another version or made from something else.
std::optional<TokenCache> open_token_cache(const std::filesystem::path& file, const std::string& key,
                                           int64_t vocab_size, std::string& reason);

}  // namespace collie
