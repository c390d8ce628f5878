#include "runtime/message_link.hpp"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "base/error.hpp"

namespace collie {
namespace {

using comm::GroupFailure;
using comm::Patience;

// Messages up to this size are copied when they are sent, so that their senders need not wait for an answer.
constexpr size_t most_copied_bytes = 16 * 1024;
constexpr auto echo = std::chrono::milliseconds(500);  // time for the other ends to hear abort()

std::string text_of(const LinkMessage& message) {
  return {reinterpret_cast<const char*>(message.bytes.data()), message.bytes.size()};
}

}  // namespace

class MessageLink::Waiting final : public comm::Transfer {
 public:
  Waiting(std::shared_ptr<MessageLink> link, PostPtr post) : link_(std::move(link)), post_(std::move(post)) {}
  void wait(Patience patience) override { link_->wait(post_, patience); }

 private:
  std::shared_ptr<MessageLink> link_;
  PostPtr post_;
};

MessageLink::MessageLink(MessageLinkOptions options, Send send)
    : options_(std::move(options)), send_(std::move(send)), peers_(static_cast<size_t>(options_.size)) {
  COLLIE_ASSERT(rank() >= 0 && rank() < size(), "rank {} of {}", rank(), size());
  COLLIE_ASSERT(options_.addresses.size() == peers_.size(), "{} addresses of {} ranks",
                options_.addresses.size(), size());
  COLLIE_ASSERT(most_bytes() > 0 && most_bytes() <= most_link_bytes,
                "messages of {} bytes, at most {} travel", most_bytes(), most_link_bytes);
}

std::unique_ptr<comm::Transfer> MessageLink::send(int peer, uint64_t tag, std::span<const std::byte> bytes,
                                                  std::shared_ptr<const void> owner) {
  const Lock lock(mutex_);
  auto post = make_post(peer, tag, {const_cast<std::byte*>(bytes.data()), bytes.size()}, std::move(owner));
  Lane& lane = at(peer).lanes[tag];
  if (lane.room == 0) {
    lane.sends.push_back(post);
  } else {
    --lane.room;
    at(peer).ready.push_back({tag, post});
    send_ready(peer);
  }
  return std::make_unique<Waiting>(shared_from_this(), std::move(post));
}

std::unique_ptr<comm::Transfer> MessageLink::receive(int peer, uint64_t tag, std::span<std::byte> bytes,
                                                     std::shared_ptr<const void> owner) {
  const Lock lock(mutex_);
  auto post = make_post(peer, tag, bytes, std::move(owner));
  at(peer).lanes[tag].receives.push_back(post);
  say(peer, LinkMessage::Kind::room, tag);
  return std::make_unique<Waiting>(shared_from_this(), std::move(post));
}

MessageLink::PostPtr MessageLink::make_post(int peer, uint64_t tag, std::span<std::byte> bytes,
                                            std::shared_ptr<const void> owner) {
  COLLIE_ASSERT(peer >= 0 && peer < size() && peer != rank(), "rank {} has no link to rank {}", rank(), peer);
  COLLIE_ASSERT(!bytes.empty() && bytes.size() <= most_bytes(), "a message of {} bytes, not 1 to {}",
                bytes.size(), most_bytes());
  COLLIE_ASSERT(tag < uint64_t{1} << 63, "tag {} is too large", tag);
  if (failure_) failure_->raise();
  return std::make_shared<Post>(Post{peer, bytes, std::move(owner)});
}

void MessageLink::send_ready(int peer) {
  Peer& to = at(peer);
  while (!failure_ && send_ && !to.ready.empty() && to.in_flight.size() < most_link_chunks) {
    const Ready next = std::move(to.ready.front());
    to.ready.pop_front();
    to.in_flight.push_back(next.post);
    LinkMessage chunk{LinkMessage::Kind::chunk, rank(), next.tag, next.post->bytes, next.post->owner};
    if (chunk.bytes.size() <= most_copied_bytes) {
      const auto copy =
          std::make_shared<const std::vector<std::byte>>(chunk.bytes.begin(), chunk.bytes.end());
      chunk.bytes = *copy;
      chunk.owner = copy;
      next.post->done = true;
      next.post->owner.reset();
      changed_.notify_all();
    }
    send_(peer, std::move(chunk));
  }
}

void MessageLink::say(int peer, LinkMessage::Kind kind, uint64_t tag) {
  if (send_) send_(peer, {kind, rank(), tag, {}, nullptr});
}

void MessageLink::hear(const LinkMessage& message) {
  if (message.from < 0 || message.from >= size() || message.from == rank()) return;
  if (message.kind == LinkMessage::Kind::chunk) return place(message);
  const Lock lock(mutex_);
  Peer& from = at(message.from);
  switch (message.kind) {
    case LinkMessage::Kind::room: {
      Lane& lane = from.lanes[message.tag];
      if (lane.sends.empty()) {
        ++lane.room;
        return;
      }
      from.ready.push_back({message.tag, std::move(lane.sends.front())});
      lane.sends.pop_front();
      return send_ready(message.from);
    }
    case LinkMessage::Kind::taken:
      if (from.in_flight.empty()) return;
      from.in_flight.front()->done = true;
      from.in_flight.front()->owner.reset();
      from.in_flight.pop_front();
      changed_.notify_all();
      return send_ready(message.from);
    case LinkMessage::Kind::left:
      from.left = true;
      changed_.notify_all();
      return;
    default:
      from.failed = true;
      changed_.notify_all();
      return fail_locked({message.kind == LinkMessage::Kind::aborted, text_of(message)});
  }
}

void MessageLink::place(const LinkMessage& chunk) {
  PostPtr post;
  std::string wrong;
  {
    const Lock lock(mutex_);
    if (failure_ || !send_) return;
    auto& receives = at(chunk.from).lanes[chunk.tag].receives;
    if (receives.empty())
      wrong = "it sent what nobody had asked for";
    else if (receives.front()->bytes.size() < chunk.bytes.size())
      wrong = fmt::format("it sent {} bytes where there was room for {}", chunk.bytes.size(),
                          receives.front()->bytes.size());
    else
      post = std::move(receives.front());
    if (post) {
      receives.pop_front();
      copying_ = true;
    }
  }
  if (!post) return fail({false, fmt::format("rank {}: {}", chunk.from, wrong)});
  take(chunk, post);
}

// Copies without the lock, so that ranks need not wait for it.
void MessageLink::take(const LinkMessage& chunk, const PostPtr& post) {
  std::memcpy(post->bytes.data(), chunk.bytes.data(), chunk.bytes.size());
  const Lock lock(mutex_);
  copying_ = false;
  post->done = true;
  post->owner.reset();
  changed_.notify_all();
  say(chunk.from, LinkMessage::Kind::taken);
}

void MessageLink::wait(const PostPtr& post, Patience patience) {
  Lock lock(mutex_);
  const auto over = [&] { return post->done || failure_ || at(post->peer).left; };
  std::string why = "it has left";
  if (patience == Patience::endless)
    changed_.wait(lock, over);
  else if (!changed_.wait_for(lock, options_.transfer_timeout, over))
    why = fmt::format("nothing was heard of it for {} s in the middle of a transfer",
                      static_cast<double>(options_.transfer_timeout.count()) / 1000);
  if (post->done) return;
  fail_locked({false, gone(post->peer, why)});
  failure_->raise();
}

std::string MessageLink::gone(int peer, const std::string& why) const {
  return fmt::format("rank {} ({}) is gone: {}", peer, options_.addresses[static_cast<size_t>(peer)], why);
}

void MessageLink::check() const {
  const Lock lock(mutex_);
  if (failure_) failure_->raise();
}

// Every end tells all other ends once, whoever told it. So a failure reaches each end through any rank, and a
// failure message from a peer shows that the peer knows.
void MessageLink::fail(const GroupFailure& failure) {
  const Lock lock(mutex_);
  fail_locked(failure);
}

void MessageLink::fail_locked(const GroupFailure& failure) {
  if (failure_) return;
  failure_ = failure;
  heard_until_ = std::chrono::steady_clock::now() + echo;
  changed_.notify_all();
  if (!send_) return;
  constexpr size_t most_said = 1024;
  const auto text = std::make_shared<const std::string>(failure.message.substr(0, most_said));
  const auto bytes = std::as_bytes(std::span(*text));
  for (int peer = 0; peer < size(); ++peer)
    if (peer != rank())
      send_(peer, {failure.aborted ? LinkMessage::Kind::aborted : LinkMessage::Kind::failed, rank(), 0, bytes,
                   text});
}

void MessageLink::abort(const std::string& cause) {
  fail({true, cause});
  Lock lock(mutex_);
  changed_.wait_until(lock, heard_until_, [&] {
    for (int peer = 0; peer < size(); ++peer)
      if (peer != rank() && !at(peer).failed && !at(peer).left && !at(peer).gone) return false;
    return true;
  });
}

void MessageLink::lost(int peer, const std::string& why) {
  const Lock lock(mutex_);
  at(peer).gone = true;
  changed_.notify_all();
  if (!at(peer).left) fail_locked({false, gone(peer, why)});
}

void MessageLink::close() {
  Lock lock(mutex_);
  changed_.wait(lock, [&] { return !copying_; });
  if (!failure_)
    for (int peer = 0; peer < size(); ++peer)
      if (peer != rank()) say(peer, LinkMessage::Kind::left);
  send_ = nullptr;
  for (Peer& peer : peers_) {
    peer.lanes.clear();
    peer.ready.clear();
    peer.in_flight.clear();
  }
}

}  // namespace collie
