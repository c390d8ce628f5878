// A byte link whose bytes travel as messages between actors, and so over whatever joins their processes:
// encrypted where the cluster has certificates (actors/cluster.hpp). Knows no actors; link_end.cpp carries
// its messages.
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

// From one end to another. It refers to its bytes, which `owner` keeps, so that nothing is copied within a
// process, nor before it is serialised.
struct LinkMessage {
  enum class Kind : uint8_t {
    room,     // a receive of the tag was posted: one chunk of it may come
    chunk,    // what was sent under the tag
    taken,    // the oldest chunk in flight is where it belongs: another one may follow
    failed,   // the link has failed; the bytes say why
    aborted,  // the same, by abort()
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
  std::vector<std::string> addresses;  // [size] where ranks are, for messages
  // For a peer that is at work on a transfer (comm::Patience::limited) while nothing of it comes.
  std::chrono::milliseconds transfer_timeout{30'000};
  size_t most_bytes = 1 << 20;  // at most most_link_bytes
};

// The longest message that is accepted from another process.
inline constexpr size_t most_link_bytes = 1 << 20;
// Chunks that are on their way from one rank to another, of all tags together.
inline constexpr size_t most_link_chunks = 4;

// What an end does. Two bounds keep the network's and the mailboxes' queues short: a chunk leaves only when
// its receive is posted (so that the receiver never stores one), and at most most_link_chunks are on their
// way to a peer. As those can always be taken, whatever ranks wait for, tags do not block each other.
//
// All methods may be called from any thread; send() is called with a lock held: it must not call back.
class MessageLink final : public comm::ByteLink, public std::enable_shared_from_this<MessageLink> {
 public:
  // Carries a message to the end of rank `peer`. Never blocks; keeps the order of messages to a peer.
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
  void fail(const comm::Failure& failure) override;
  void abort(const std::string& cause) override;

  // For whoever carries the messages: one at a time, those of a peer in their order.
  void hear(const LinkMessage& message);
  void lost(int peer, const std::string& why);  // nothing will come from it any more

  // The end of the link for this rank: tells the others, and forgets everything that was posted.
  void close();

 private:
  using Lock = std::unique_lock<std::mutex>;
  struct Post {
    int peer = 0;
    std::span<std::byte> bytes;  // only read where it is sent
    std::shared_ptr<const void> owner;
    bool done = false;
  };
  using PostPtr = std::shared_ptr<Post>;
  struct Lane {  // of a peer and tag
    std::deque<PostPtr> sends, receives;
    size_t room = 0;  // receives of the peer that no send was found for
  };
  struct Ready {
    uint64_t tag = 0;
    PostPtr post;
  };
  struct Peer {
    std::map<uint64_t, Lane> lanes;
    std::deque<Ready> ready;        // there is room for them, and they wait for their turn
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
  void fail_locked(const comm::Failure& failure);
  std::string gone(int peer, const std::string& why) const;
  Peer& at(int peer) { return peers_[static_cast<size_t>(peer)]; }

  const MessageLinkOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Send send_;                // empty once closed
  std::vector<Peer> peers_;  // [size], this rank's own unused
  std::optional<comm::Failure> failure_;
  std::chrono::steady_clock::time_point heard_until_;  // how long abort() waits, once there is a failure
  bool copying_ = false;                               // into a post's memory, without the lock
};

}  // namespace collie
