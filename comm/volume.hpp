// The number of bytes an operation moves, as a run's accounts and artificial links count them.
#pragma once

#include <cstdint>

#include "comm/call.hpp"

namespace collie::comm {

// The bytes that one rank must send to others and receive from them, whatever carries them.
struct Volume {
  int64_t sent = 0, received = 0;
};

// Bytes for a group of n ranks; a group of one moves nothing:
//   all_reduce_sum      2 (n-1)/n · tensor both ways (a reduce-scatter and an all-gather)
//   reduce_scatter_sum  (n-1)/n · in       both ways
//   all_gather          (n-1)/n · out      both ways
//   all_to_all          (n-1)/n · in       both ways
//   broadcast           the root sends (n-1) · tensor, every other rank receives one tensor
//   send, receive       one tensor, one way
//   barrier             nothing
Volume volume_of(const Call& call, int size, int rank);

}  // namespace collie::comm
