#include "models/stash.hpp"

namespace collie {

ActivationStash::ActivationStash() = default;
ActivationStash::~ActivationStash() = default;
ActivationStash::ActivationStash(ActivationStash&&) noexcept = default;
ActivationStash& ActivationStash::operator=(ActivationStash&&) noexcept = default;

KeyValueCache::KeyValueCache() = default;
KeyValueCache::~KeyValueCache() = default;
KeyValueCache::KeyValueCache(KeyValueCache&&) noexcept = default;
KeyValueCache& KeyValueCache::operator=(KeyValueCache&&) noexcept = default;

}  // namespace collie
