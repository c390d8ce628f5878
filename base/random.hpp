// Counter-based random numbers: the value at (key, counter) depends on nothing else. So a parameter's initial
// weights, a sample's place or a dropout mask are the same in every layout.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace collie {

// Philox4x32 with 10 rounds: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// 64-bit FNV-1a of `purpose`, then mixed with `seed` (splitmix64 finaliser): a key for one named purpose.
uint64_t random_key(uint64_t seed, std::string_view purpose);

// One stream of numbers, addressed by index.
class RandomStream {
 public:
  explicit RandomStream(uint64_t key) : key_(key) {}
  uint64_t bits(uint64_t index) const;   // 64 uniform bits
  double uniform(uint64_t index) const;  // [0, 1), 53 bits
  double normal(uint64_t index) const;   // mean 0, deviation 1 (Box-Muller on one Philox block)
  uint64_t below(uint64_t bound, uint64_t index) const;  // [0, bound), bound > 0

 private:
  uint64_t key_;
};

// A permutation of 0..size-1 (Fisher-Yates over stream `key`).
std::vector<uint32_t> permutation(uint32_t size, uint64_t key);

}  // namespace collie
