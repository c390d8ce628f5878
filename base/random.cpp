#include "base/random.hpp"

#include <cmath>
#include <numbers>
#include <numeric>

#include "base/error.hpp"

namespace collie {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  constexpr uint64_t multiplier0 = 0xD2511F53, multiplier1 = 0xCD9E8D57;
  constexpr uint32_t weyl0 = 0x9E3779B9, weyl1 = 0xBB67AE85;
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = multiplier0 * counter[0];
    const uint64_t product1 = multiplier1 * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(product0)};
    key = {key[0] + weyl0, key[1] + weyl1};
  }
  return counter;
}

uint64_t random_key(uint64_t seed, std::string_view purpose) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (unsigned char byte : purpose) hash = (hash ^ byte) * 0x100000001b3u;
  uint64_t mixed = hash + 0x9e3779b97f4a7c15u * (seed + 1);
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
  return mixed ^ (mixed >> 31);
}

namespace {

__extension__ using uint128 = unsigned __int128;

std::array<uint32_t, 4> block(uint64_t key, uint64_t index) {
  return philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), 0, 0},
                    {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)});
}

uint64_t join(uint32_t high, uint32_t low) {
  return (uint64_t{high} << 32) | low;
}

// In (0, 1]: never zero, so that its logarithm is finite.
double open_uniform(uint64_t bits) {
  return static_cast<double>((bits >> 11) + 1) * 0x1.0p-53;
}

}  // namespace

uint64_t RandomStream::bits(uint64_t index) const {
  const auto words = block(key_, index);
  return join(words[0], words[1]);
}

double RandomStream::uniform(uint64_t index) const {
  return static_cast<double>(bits(index) >> 11) * 0x1.0p-53;
}

double RandomStream::normal(uint64_t index) const {
  const auto words = block(key_, index);
  const double radius = std::sqrt(-2.0 * std::log(open_uniform(join(words[0], words[1]))));
  const double angle = 2.0 * std::numbers::pi * open_uniform(join(words[2], words[3]));
  return radius * std::cos(angle);
}

uint64_t RandomStream::below(uint64_t bound, uint64_t index) const {
  COLLIE_ASSERT(bound > 0, "a random number below 0 was asked for");
  // The high half of a 128-bit product. The bias is below bound / 2^64, far below anything observable.
  return static_cast<uint64_t>((static_cast<uint128>(bits(index)) * bound) >> 64);
}

std::vector<uint32_t> permutation(uint32_t size, uint64_t key) {
  std::vector<uint32_t> order(size);
  std::iota(order.begin(), order.end(), 0u);
  const RandomStream stream(key);
  for (uint32_t i = size; i > 1; --i) std::swap(order[i - 1], order[stream.below(i, i)]);
  return order;
}

}  // namespace collie
