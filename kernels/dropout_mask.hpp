// Which elements dropout drops, on every device: the same formula with the same bits.
#pragma once

#include <cstdint>

namespace collie {

// An element of row r and column c is dropped if word c % 4 of the philox4x32 block (base/random.hpp) with
// the counter {low half of r, high half of r, c / 4, 0} under `key` is below `dropped`. A weight of
// attention's head h, from the query with number r to the key with number c, has 1 + h in place of the 0.
// What is not dropped is multiplied by `factor`.
struct DropoutMask {
  uint64_t key;
  uint64_t dropped;  // of 2³² words
  double factor;
};

// `rate` is the probability of a drop, in [0, 1].
inline DropoutMask dropout_mask(uint64_t key, double rate) {
  return {key, static_cast<uint64_t>(rate * 0x1p32), rate < 1 ? 1 / (1 - rate) : 0};
}

}  // namespace collie
