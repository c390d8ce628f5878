// The byte channel between processes on which groups are built. comm/ declares it; comm/gloo_link.hpp
// provides it over plain TCP, and whoever has another transport provides another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "comm/failure.hpp"

namespace collie::comm {

// Whether the peer is known to be at work on the other side of a transfer, so that silence means that it is
// gone.
enum class Patience : uint8_t {
  endless,  // it may be computing: wait until it comes, or dies
  limited   // it has agreed to the transfer: the link's time limit applies
};

// A message that was posted. Dropped before it is done, it stays with the link, and uses its memory, until
// the link ends.
class Transfer {
 public:
  virtual ~Transfer() = default;
  // Blocks until the message has come, or its memory may be used again. Throws the link's failure. Call it
  // once.
  virtual void wait(Patience patience) = 0;
};

// One rank's end of a set of ranks, each of which can send to every other. Messages from one rank to another
// under one tag arrive in the order in which they were posted; those of different tags may overtake each
// other. Everything may be called from any thread; the messages of one tag and peer by one at a time.
//
// A link fails as a whole, on all ranks that can be reached and for all tags: by fail() or abort() on any
// end, or when a peer dies ("rank 2 (10.0.0.3) is gone: ..."). From then on every wait, also one that has
// begun, and every post throws the first failure that this end has heard of. A rank whose link is destroyed
// without a failure has left: that is a failure only to those who then still want something from it.
class ByteLink {
 public:
  virtual ~ByteLink() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // The longest message in bytes, the same on all ranks: about a hundredth of a second of the link. Larger
  // ones are cut by the caller, so that death is noticed between the pieces and short messages do not wait
  // behind long ones.
  virtual size_t most_bytes() const = 0;

  // Posts a message; neither call blocks, and that the peer has left is said by the wait. A receive must have
  // room for what the peer sends, which may be shorter (an implementation may end the process otherwise):
  // agree on sizes before. Sends may wait for their receives: post receives first. `owner` keeps the memory
  // alive for as long as the link may use it, after a failure until the link is gone. 0 < bytes.size() <=
  // most_bytes(); tag below 2^63; peer other than rank() (std::logic_error).
  virtual std::unique_ptr<Transfer> send(int peer, uint64_t tag, std::span<const std::byte> bytes,
                                         std::shared_ptr<const void> owner) = 0;
  virtual std::unique_ptr<Transfer> receive(int peer, uint64_t tag, std::span<std::byte> bytes,
                                            std::shared_ptr<const void> owner) = 0;

  // Throws the failure, if there is one.
  virtual void check() const = 0;

  // Fails the link on all ranks; does nothing where it has failed. Returns at once.
  virtual void fail(const Failure& failure) = 0;
  // The same with Aborted(cause), and waits, at most until a moment after the failure, until the others know.
  virtual void abort(const std::string& cause) = 0;
};

}  // namespace collie::comm
