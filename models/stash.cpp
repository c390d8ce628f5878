#include "models/stash.hpp"

namespace collie {

ActivationStash::ActivationStash() = default;
ActivationStash::~ActivationStash() = default;
ActivationStash::ActivationStash(ActivationStash&&) noexcept = default;
ActivationStash& ActivationStash::operator=(ActivationStash&&) noexcept = default;

KeyValueCache::KeyValueCache() : contents(std::make_unique<Contents>()) {}
KeyValueCache::~KeyValueCache() = default;
KeyValueCache::KeyValueCache(KeyValueCache&&) noexcept = default;
KeyValueCache& KeyValueCache::operator=(KeyValueCache&&) noexcept = default;

void KeyValueCache::end(int64_t sequence) {
  COLLIE_ASSERT(contents->sequences.erase(sequence) == 1, "sequence {} is not in the cache", sequence);
}

}  // namespace collie
