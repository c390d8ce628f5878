// A byte link whose bytes travel as messages between actors, over any connection between their processes.
// They are encrypted if the cluster has certificates (actors/cluster.hpp). This file knows no actors;
// link_end.cpp is the transport of its messages.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/byte_link.hpp"

namespace collie {

// A message from one end to another. It refers to its bytes, and `owner` keeps them alive. So nothing is
// copied within a process, or before the bytes are serialised.
struct LinkMessage {
  enum class Kind : uint8_t {
    room,     // a receive of the tag was posted, so one chunk of it may be sent
    chunk,    // the data sent under the tag
    taken,    // the oldest chunk in flight is at its destination, so another one may follow
    failed,   // the link has failed; the bytes say why
    aborted,  // the link has failed by abort(); the bytes say why
    left      // the end is closed
  };
  Kind kind = Kind::left;
  int from = 0;
  uint64_t tag = 0;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

struct MessageLinkOptions {
  int rank = 0, size = 1;
  std::vector<std::string> addresses;  // [size] addresses of the ranks, for messages
  // Time limit while a peer works on a transfer (comm::Patience::limited) and none of it arrives.
  std::chrono::milliseconds transfer_timeout{30'000};
  size_t most_bytes = 1 << 20;  // at most most_link_bytes
};

// The longest message that is accepted from another process.
inline constexpr size_t most_link_bytes = 1 << 20;
// The most chunks in flight from one rank to another, over all tags.
inline constexpr size_t most_link_chunks = 4;

// One end of a link. Two bounds keep the queues of the network and the mailboxes short. A chunk is sent only
// after its receive is posted, so the receiver never stores one. At most most_link_chunks are in flight to a
// peer. Those can always be received, whatever ranks wait for, so tags do not block each other.
//
// Any thread may call any method. send() is called with a lock held, so it must not call back.
class MessageLink final : public comm::ByteLink, public std::enable_shared_from_this<MessageLink> {
 public:
  // Sends a message to the end of rank `peer`. It never blocks and keeps the order of messages to a peer.
  using Send = std::function<void(int peer, LinkMessage message)>;
  MessageLink(MessageLinkOptions options, Send send);

  int rank() const override { return options_.rank; }
  int size() const override { return options_.size; }
  size_t most_bytes() const override { return options_.most_bytes; }
  std::unique_ptr<comm::Transfer> send(int peer, uint64_t tag, std::span<const std::byte> bytes,
                                       std::shared_ptr<const void> owner) override;
  std::unique_ptr<comm::Transfer> receive(int peer, uint64_t tag, std::span<std::byte> bytes,
                                          std::shared_ptr<const void> owner) override;
  void check() const override;
  void fail(const comm::GroupFailure& failure) override;
  void abort(const std::string& cause) override;

  // The transport calls these, one call at a time, and passes a peer's messages in their order.
  void hear(const LinkMessage& message);
  void lost(int peer, const std::string& why);  // nothing will arrive from it any more

  // Closes this rank's end of the link: tells the others, and drops everything that was posted.
  void close();

 private:
  using Lock = std::unique_lock<std::mutex>;
  struct Post {
    int peer = 0;
    std::span<std::byte> bytes;  // read-only in a send
    std::shared_ptr<const void> owner;
    bool done = false;
  };
  using PostPtr = std::shared_ptr<Post>;
  struct Lane {  // one per peer and tag
    std::deque<PostPtr> sends, receives;
    size_t room = 0;  // receives of the peer that have no matching send yet
  };
  struct Ready {
    uint64_t tag = 0;
    PostPtr post;
  };
  struct Peer {
    std::map<uint64_t, Lane> lanes;
    std::deque<Ready> ready;        // the peer has room for them, and they wait for their turn
    std::deque<PostPtr> in_flight;  // oldest first
    bool failed = false, left = false, gone = false;
  };
  class Waiting;

  PostPtr make_post(int peer, uint64_t tag, std::span<std::byte> bytes, std::shared_ptr<const void> owner);
  void send_ready(int peer);
  void place(const LinkMessage& chunk);
  void take(const LinkMessage& chunk, const PostPtr& post);
  void wait(const PostPtr& post, comm::Patience patience);
  void say(int peer, LinkMessage::Kind kind, uint64_t tag = 0);
  void fail_locked(const comm::GroupFailure& failure);
  std::string gone(int peer, const std::string& why) const;
  Peer& at(int peer) { return peers_[static_cast<size_t>(peer)]; }

  const MessageLinkOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Send send_;                // empty after close()
  std::vector<Peer> peers_;  // [size]; this rank's own entry is unused
  std::optional<comm::GroupFailure> failure_;
  std::chrono::steady_clock::time_point heard_until_;  // how long abort() waits after a failure
  bool copying_ = false;                               // a copy into a post's memory runs, without the lock
};

}  // namespace collie
