// Exchanges many ranks' data at once over a link, piece by piece.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "comm/byte_link.hpp"

namespace collie::comm {

// The number of pieces that are under way at a time.
inline constexpr size_t exchange_window = 4;

struct Outgoing {
  int peer = 0;  // rank in the link
  const std::byte* data = nullptr;
  size_t bytes = 0;
};

struct Incoming {
  int peer = 0;
  std::byte* data = nullptr;
  size_t bytes = 0;
  // True: `data` has room for exchange_window pieces, which are used in turn. False: it has room for all
  // bytes.
  bool ring = false;
};

// Sends and receives everything, cut into pieces of the link's most_bytes(), and returns when all is done.
// Both ends of each stream must have agreed on its bytes. `arrived(begin, end, slot)` is called when bytes
// [begin, end) have come of every incoming stream that is long enough; slot is the piece's place in a ring.
// Throws the link's failure.
void exchange(ByteLink& link, uint64_t tag, const std::vector<Outgoing>& outgoing,
              const std::vector<Incoming>& incoming, const std::shared_ptr<const void>& owner,
              const std::function<void(size_t begin, size_t end, size_t slot)>& arrived = nullptr);

}  // namespace collie::comm
