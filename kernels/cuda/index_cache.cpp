#include "kernels/cuda/index_cache.hpp"

#include <algorithm>

namespace collie::cuda {

namespace {

// FNV-1a over whole words.
uint64_t hash_of(std::span<const int32_t> values) {
  uint64_t hash = 14695981039346656037ULL ^ values.size();
  for (const int32_t value : values) hash = (hash ^ static_cast<uint32_t>(value)) * 1099511628211ULL;
  return hash;
}

}  // namespace

IndexCache::IndexCache(std::shared_ptr<Stream> stream, std::shared_ptr<MemorySource> memory,
                       std::shared_ptr<MemoryAccount> account, size_t bound)
    : stream_(std::move(stream)),
      memory_(std::move(memory)),
      account_(std::move(account)),
      bound_(bound),
      staging_(stream_) {}

const int32_t* IndexCache::on_device(std::span<const int32_t> values) {
  const uint64_t hash = hash_of(values);
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.hash == hash &&
           std::equal(values.begin(), values.end(), entry.values.begin(), entry.values.end());
  });
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
    return entries_.front().copy.data<int32_t>();
  }
  if (entries_.size() == bound_) entries_.pop_back();
  Tensor copy =
      Tensor::on(memory_, {static_cast<int64_t>(values.size())}, DType::i32, account_, Category::workspace);
  staging_.upload(std::as_bytes(values), copy.raw());
  entries_.push_front({hash, {values.begin(), values.end()}, copy});
  return copy.data<int32_t>();
}

}  // namespace collie::cuda
