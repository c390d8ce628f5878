#include "comm/exchange.hpp"

#include <algorithm>
#include <deque>

namespace collie::comm {
namespace {

struct Piece {
  size_t begin = 0, end = 0, slot = 0;
  std::vector<std::unique_ptr<Transfer>> receives, sends;
};

template <class Stream>
size_t longest(const std::vector<Stream>& streams) {
  size_t bytes = 0;
  for (const Stream& stream : streams) bytes = std::max(bytes, stream.bytes);
  return bytes;
}

}  // namespace

void exchange(ByteLink& link, uint64_t tag, const std::vector<Outgoing>& outgoing,
              const std::vector<Incoming>& incoming, const std::shared_ptr<const void>& owner,
              const std::function<void(size_t, size_t, size_t)>& arrived) {
  const size_t step = link.most_bytes(), longest_incoming = longest(incoming);
  const size_t bytes = std::max(longest(outgoing), longest_incoming);
  std::deque<Piece> under_way;

  // Every rank posts and awaits its pieces in the same order, so that the oldest piece of all never waits for
  // a later one.
  const auto post = [&](size_t begin, size_t slot) {
    Piece& piece = under_way.emplace_back();
    piece.begin = begin;
    piece.end = std::min(bytes, begin + step);
    piece.slot = slot;
    for (const Incoming& stream : incoming) {
      if (begin >= stream.bytes) continue;
      std::byte* const to = stream.data + (stream.ring ? slot * step : begin);
      piece.receives.push_back(
          link.receive(stream.peer, tag, {to, std::min(step, stream.bytes - begin)}, owner));
    }
    for (const Outgoing& stream : outgoing) {
      if (begin >= stream.bytes) continue;
      piece.sends.push_back(
          link.send(stream.peer, tag, {stream.data + begin, std::min(step, stream.bytes - begin)}, owner));
    }
  };
  const auto finish_oldest = [&] {
    const Piece& piece = under_way.front();
    for (const auto& transfer : piece.receives) transfer->wait(Patience::limited);
    if (arrived && piece.begin < longest_incoming)
      arrived(piece.begin, std::min(piece.end, longest_incoming), piece.slot);
    for (const auto& transfer : piece.sends) transfer->wait(Patience::limited);
    under_way.pop_front();
  };

  for (size_t number = 0; number * step < bytes; ++number) {
    if (under_way.size() == exchange_window) finish_oldest();
    post(number * step, number % exchange_window);
  }
  while (!under_way.empty()) finish_oldest();
}

}  // namespace collie::comm
