// Many ranks' data at once over a link, piece by piece.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "comm/byte_link.hpp"

namespace collie::comm {

// Pieces that are under way at a time.
inline constexpr size_t exchange_window = 4;

struct Outgoing {
  int peer = 0;  // of the link
  const std::byte* data = nullptr;
  size_t bytes = 0;
};

struct Incoming {
  int peer = 0;
  std::byte* data = nullptr;
  size_t bytes = 0;
  bool ring =
      false;  // `data` has room for exchange_window pieces, which are used in turn; else for all bytes
};

// Sends and receives all of it, cut into pieces of the link's most_bytes(), and returns when all is done.
// Both ends of each stream must have agreed on its bytes. `arrived(begin, end, slot)` is called when bytes
// [begin, end) of every incoming stream that is so long have come; slot is the piece's place in a ring.
// Throws the link's failure.
void exchange(ByteLink& link, uint64_t tag, const std::vector<Outgoing>& outgoing,
              const std::vector<Incoming>& incoming, const std::shared_ptr<const void>& owner,
              const std::function<void(size_t begin, size_t end, size_t slot)>& arrived = nullptr);

}  // namespace collie::comm
