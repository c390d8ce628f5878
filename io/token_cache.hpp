// The tokens of one data file on disk, to be mapped into memory.
//
// Layout (little-endian): a header of 128 bytes (token_cache.cpp), int32 tokens[T], zeros up to a multiple of
// 8, uint64 offsets[D + 1], uint64 first_spans[D + 1], int32 targets[S][2].
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/dataset.hpp"

namespace collie {

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
  void finish();

 private:
  void write(const void* data, size_t size);
  void flush();
  [[noreturn]] void fail() const;

  std::filesystem::path file_, temporary_;
  std::string key_;
  int descriptor_ = -1;
  std::vector<std::byte> buffer_;
  std::vector<uint64_t> offsets_ = {0}, first_spans_ = {0};
  std::vector<TokenSpan> targets_;
};

// Maps the cache at `file`. Everything in it is verified, ids against `vocab_size`. Returns nothing if there
// is no cache. It also returns nothing, and `reason` says why, if the cache is broken, of another version or
// made from something else.
std::optional<DocumentBlock> open_token_cache(const std::filesystem::path& file, const std::string& key,
                                              int64_t vocab_size, std::string& reason);

}  // namespace collie
