// The trie of a precompiled_charsmap: the double array of darts-clone
// (https://github.com/s-yata/darts-clone).
#pragma once

#include <cstddef>
#include <cstdint>

namespace collie {

// A node, as it is packed into 32 bits. The children of node i are at i ^ offset() ^ label, and its value, if
// it has a leaf, is at i ^ offset().
struct DoubleArrayUnit {
  uint32_t bits = 0;
  size_t offset() const { return size_t{bits >> 10} << ((bits & (1u << 9)) >> 6); }
  uint32_t label() const { return bits & ((1u << 31) | 0xFFu); }
  bool has_leaf() const { return (bits >> 8) & 1u; }
  size_t value() const { return bits & 0x7FFFFFFFu; }
};

}  // namespace collie
