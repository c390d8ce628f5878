// The byte channel between processes on which groups are built. comm/ declares it, and comm/gloo_link.hpp
// provides it over plain TCP. Another transport can provide it too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "comm/failure.hpp"

namespace collie::comm {

// Says whether the peer is known to be at work on the other side of a transfer, so that silence means that it
// is gone.
enum class Patience : uint8_t {
  endless,  // the peer may be computing: wait until it comes or dies
  limited   // the peer has agreed to the transfer: the link's time limit applies
};

// A message that was posted. If it is destroyed before it is done, the message stays with the link, and uses
// its memory, until the link ends.
class Transfer {
 public:
  virtual ~Transfer() = default;
  // Blocks until the message has come (receive) or its memory may be used again (send). Throws the link's
  // failure. Call it once.
  virtual void wait(Patience patience) = 0;
};

// One rank's end of a set of ranks, each of which can send to every other. Messages from one rank to another
// under one tag arrive in the order in which they were posted. Messages of different tags may overtake each
// other. Any thread may call everything, but the messages of one tag and peer are for one thread at a time.
//
// A link fails as a whole, on all ranks that can be reached and for all tags. fail() or abort() on any end
// makes it fail, and so does the death of a peer ("rank 2 (10.0.0.3) is gone: ..."). From then on every post
// and every wait, including waits that have begun, throws the first failure that this end has heard of. A
// rank whose link is destroyed without a failure has left: that is a failure only for those who afterwards
// still want something from it.
class ByteLink {
 public:
  virtual ~ByteLink() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // The longest message in bytes, the same on all ranks: about what the link moves in a hundredth of a
  // second. The caller cuts larger messages, so that a death is noticed between the pieces and short messages
  // do not wait behind long ones.
  virtual size_t most_bytes() const = 0;

  // These two post a message. Neither blocks; if the peer has left, the wait says so. A receive must have
  // room for what the peer sends, which may be shorter (otherwise an implementation may end the process), so
  // agree on sizes before. Sends may wait for their receives, so post receives first. `owner` keeps the
  // memory alive for as long as the link may use it, which is until the link is gone after a failure. 0 <
  // bytes.size() <= most_bytes(); tag below 2^63; peer other than rank() (std::logic_error).
  virtual std::unique_ptr<Transfer> send(int peer, uint64_t tag, std::span<const std::byte> bytes,
                                         std::shared_ptr<const void> owner) = 0;
  virtual std::unique_ptr<Transfer> receive(int peer, uint64_t tag, std::span<std::byte> bytes,
                                            std::shared_ptr<const void> owner) = 0;

  // Throws the failure if there is one.
  virtual void check() const = 0;

  // Fails the link on all ranks. Does nothing if it has failed already. Returns at once.
  virtual void fail(const GroupFailure& failure) = 0;
  // Fails the link with Aborted(cause), and waits until the others know, at most until a moment after the
  // failure.
  virtual void abort(const std::string& cause) = 0;
};

}  // namespace collie::comm
