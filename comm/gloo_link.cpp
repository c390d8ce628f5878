#include "comm/gloo_link.hpp"

#include <gloo/rendezvous/context.h>
#include <gloo/transport/unbound_buffer.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "comm/gloo_mesh.hpp"
#include "comm/gloo_posts.hpp"

namespace collie::comm {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using Buffer = std::unique_ptr<gloo::transport::UnboundBuffer>;

// Gloo ends all connections of a context when one wait times out, and then the wrong rank would be blamed. So
// the link keeps its own limits, and Gloo waits for ever.
constexpr milliseconds forever = std::chrono::hours(24 * 365);
// last_words: the longest that the end of a link takes for its last words. echo: the longest that abort()
// waits to be heard.
constexpr milliseconds last_words{1'000}, echo{500};

// The sender itself posts longer messages. So both threads copy, one outgoing and one incoming data.
constexpr size_t most_small_bytes = 64 << 10;

constexpr uint64_t control_tag = uint64_t{1} << 63;

// A message between ranks about the link itself: that it has failed, or that the sender leaves. Each is sent
// once.
struct Notice {
  enum Kind : uint32_t { failed, aborted, leaving };
  Kind kind = leaving;
  std::array<char, 1020> text{};  // ends with a zero
};
constexpr size_t notices_of_a_peer = 2;

class GlooLink;

class GlooTransfer : public Transfer {
 public:
  GlooTransfer(GlooLink& link, int peer, bool sends, Buffer buffer, std::shared_ptr<const void> owner)
      : link_(link), peer_(peer), sends_(sends), owner_(std::move(owner)), buffer_(std::move(buffer)) {}
  ~GlooTransfer() override;
  void wait(Patience patience) override;

 private:
  GlooLink& link_;
  int peer_;
  bool sends_, done_ = false;
  std::shared_ptr<const void> owner_;
  Buffer buffer_;  // after the members it uses, so that it is destroyed first
};

class GlooLink : public ByteLink {
 public:
  explicit GlooLink(const GlooOptions& options)
      : options_(options), peers_(static_cast<size_t>(options.size)) {}
  ~GlooLink() override;
  void open(KeyStore& store);

  int rank() const override { return options_.rank; }
  int size() const override { return options_.size; }
  size_t most_bytes() const override { return options_.most_bytes; }
  std::unique_ptr<Transfer> send(int peer, uint64_t tag, std::span<const std::byte> bytes,
                                 std::shared_ptr<const void> owner) override {
    return post(peer, tag, true, const_cast<std::byte*>(bytes.data()), bytes.size(), std::move(owner));
  }
  std::unique_ptr<Transfer> receive(int peer, uint64_t tag, std::span<std::byte> bytes,
                                    std::shared_ptr<const void> owner) override {
    return post(peer, tag, false, bytes.data(), bytes.size(), std::move(owner));
  }
  void check() const override;
  void fail(const GroupFailure& failure) override;
  void abort(const std::string& cause) override;

  // These are for transfers.
  void wait(gloo::transport::UnboundBuffer& buffer, int peer, bool sends, Patience patience);
  [[noreturn]] void lost(int peer, const std::string& why);
  void keep(Buffer buffer, std::shared_ptr<const void> owner);

 private:
  using Lock = std::unique_lock<std::mutex>;
  struct Wait {
    int peer = 0;
    Clock::time_point deadline;
  };
  struct Kept {
    std::shared_ptr<const void> owner;
    Buffer buffer;
  };
  struct Peer {
    std::string address;
    std::array<Notice, notices_of_a_peer> heard;
    Buffer ear;  // receives the peer's notices
    std::vector<std::unique_ptr<Notice>> said;
    std::vector<Buffer> mouths;  // send this end's notices
    std::thread watcher;
    bool failed = false, left = false, gone = false;  // guarded by the mutex
  };

  void listen_to(int peer);
  void watch(int peer);
  void watch_clock();
  void hear(int peer, const Notice& notice);
  void ended(int peer, const std::string& why);
  void say(int peer, const Notice& notice);
  void say_to_all(const Notice& notice);
  std::string gone(int peer, const std::string& why) const;

  void refused(const GlooPost& post, const gloo::Exception& error);
  std::unique_ptr<Transfer> post(int peer, uint64_t tag, bool sends, std::byte* data, size_t bytes,
                                 std::shared_ptr<const void> owner);
  Peer& at(int peer) { return peers_[static_cast<size_t>(peer)]; }

  const GlooOptions options_;
  std::shared_ptr<gloo::rendezvous::Context> context_;
  std::vector<Peer> peers_;  // [size], this rank's own unused

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<GroupFailure> failure_;
  Clock::time_point heard_until_;  // the end of abort()'s wait, once there is a failure
  bool closing_ = false;
  std::map<gloo::transport::UnboundBuffer*, Wait> waiting_;         // buffers that somebody waits for
  std::map<gloo::transport::UnboundBuffer*, std::string> refused_;  // why they could not be posted
  std::vector<Kept> kept_;
  std::unique_ptr<GlooPosts> posts_;
  std::mutex speech_;  // guards what peers are told
  std::condition_variable closes_;
  std::thread clock_;
};

GlooTransfer::~GlooTransfer() {
  if (!done_) link_.keep(std::move(buffer_), std::move(owner_));
}

void GlooTransfer::wait(Patience patience) {
  link_.wait(*buffer_, peer_, sends_, patience);
  done_ = true;
}

void GlooLink::open(KeyStore& store) {
  GlooMesh mesh = connect_gloo_mesh(options_, store);
  context_ = std::move(mesh.context);
  posts_ = std::make_unique<GlooPosts>(
      std::move(mesh.device),
      [this](const GlooPost& post, const gloo::Exception& error) { refused(post, error); });
  for (int peer = 0; peer < size(); ++peer) at(peer).address = mesh.addresses[static_cast<size_t>(peer)];
  for (int peer = 0; peer < size(); ++peer)
    if (peer != rank()) listen_to(peer);
  clock_ = std::thread([this] { watch_clock(); });
}

void GlooLink::listen_to(int peer) {
  Peer& other = at(peer);
  other.ear = context_->createUnboundBuffer(other.heard.data(), sizeof(other.heard));
  for (size_t i = 0; i < notices_of_a_peer; ++i)
    other.ear->recv(peer, control_tag, i * sizeof(Notice), sizeof(Notice));
  other.watcher = std::thread([this, peer] { watch(peer); });
}

GlooLink::~GlooLink() {
  bool failed = false;
  {
    const Lock lock(mutex_);
    closing_ = true;
    failed = failure_.has_value();
  }
  closes_.notify_all();
  if (posts_) posts_->flush();  // before the last words
  if (!failed) say_to_all({});
  for (Peer& peer : peers_)
    if (peer.ear) peer.ear->abortWaitRecv();
  for (Peer& peer : peers_)
    if (peer.watcher.joinable()) peer.watcher.join();
  if (clock_.joinable()) clock_.join();
  for (Peer& peer : peers_) {
    try {
      for (const Buffer& mouth : peer.mouths) mouth->waitSend(last_words);
    } catch (const gloo::Exception&) {
      // The peer is gone or no longer listens.
    }
  }
  posts_.reset();
  // Connections must go before the memory that Gloo may write to, and after all buffers.
  for (Peer& peer : peers_) {
    peer.ear.reset();
    peer.mouths.clear();
  }
  for (Kept& kept : kept_) kept.buffer.reset();
  context_.reset();
}

void GlooLink::watch(int peer) {
  Peer& other = at(peer);
  size_t count = 0;
  bool over = false;
  while (true) {
    try {
      if (!other.ear->waitRecv(forever)) return;
      hear(peer, other.heard.at(count++));
    } catch (const gloo::Exception& error) {
      // A wait that was asleep reports the end before it reports what came last, so ask once more.
      if (std::exchange(over, true)) return ended(peer, reason_of_gloo(error));
    }
  }
}

// Looks from time to time for waits that have taken too long.
void GlooLink::watch_clock() {
  const milliseconds period = std::max(milliseconds(1), options_.transfer_timeout / 8);
  Lock lock(mutex_);
  while (!closes_.wait_for(lock, period, [&] { return closing_; })) {
    const Clock::time_point now = Clock::now();
    for (const auto& [buffer, wait] : waiting_) {
      if (now < wait.deadline) continue;
      const std::string why = fmt::format("nothing was heard of it for {} s in the middle of a transfer",
                                          static_cast<double>(options_.transfer_timeout.count()) / 1000);
      const GroupFailure failure{false, gone(wait.peer, why)};
      lock.unlock();
      fail(failure);
      return;
    }
  }
}

void GlooLink::hear(int peer, const Notice& notice) {
  {
    const Lock lock(mutex_);
    (notice.kind == Notice::leaving ? at(peer).left : at(peer).failed) = true;
    changed_.notify_all();
  }
  if (notice.kind != Notice::leaving) fail({notice.kind == Notice::aborted, notice.text.data()});
}

// The connection's end is a failure unless it was expected.
void GlooLink::ended(int peer, const std::string& why) {
  {
    const Lock lock(mutex_);
    at(peer).gone = true;
    changed_.notify_all();
    if (closing_ || at(peer).left || failure_) return;
  }
  fail({false, gone(peer, why)});
}

std::string GlooLink::gone(int peer, const std::string& why) const {
  return fmt::format("rank {} ({}) is gone: {}", peer, peers_[static_cast<size_t>(peer)].address, why);
}

void GlooLink::check() const {
  const Lock lock(mutex_);
  if (failure_) failure_->raise();
}

// Every end tells all others once, whichever end it heard from. So the failure is heard through any rank, and
// if a peer tells of it, the peer has heard it.
void GlooLink::fail(const GroupFailure& failure) {
  Notice notice{failure.aborted ? Notice::aborted : Notice::failed, {}};
  {
    const Lock lock(mutex_);
    if (failure_) return;
    failure_ = failure;
    heard_until_ = Clock::now() + echo;
    for (const auto& [buffer, wait] : waiting_) {
      buffer->abortWaitRecv();
      buffer->abortWaitSend();
    }
    changed_.notify_all();
    failure.message.copy(notice.text.data(), notice.text.size() - 1);
  }
  say_to_all(notice);
}

void GlooLink::abort(const std::string& cause) {
  fail({true, cause});
  Lock lock(mutex_);
  changed_.wait_until(lock, heard_until_, [&] {
    for (int peer = 0; peer < size(); ++peer)
      if (peer != rank() && !at(peer).failed && !at(peer).left && !at(peer).gone) return false;
    return true;
  });
}

void GlooLink::say_to_all(const Notice& notice) {
  for (int peer = 0; peer < size(); ++peer)
    if (peer != rank()) say(peer, notice);
}

void GlooLink::say(int peer, const Notice& notice) {
  const std::lock_guard lock(speech_);
  Peer& to = at(peer);
  if (!to.ear) return;  // connecting has failed
  to.said.push_back(std::make_unique<Notice>(notice));
  to.mouths.push_back(context_->createUnboundBuffer(to.said.back().get(), sizeof(Notice)));
  try {
    to.mouths.back()->send(peer, control_tag);
  } catch (const gloo::Exception&) {
    to.mouths.pop_back();  // the peer is gone
  }
}

std::unique_ptr<Transfer> GlooLink::post(int peer, uint64_t tag, bool sends, std::byte* data, size_t bytes,
                                         std::shared_ptr<const void> owner) {
  COLLIE_ASSERT(peer >= 0 && peer < size() && peer != rank(), "rank {} has no link to rank {}", rank(), peer);
  COLLIE_ASSERT(bytes > 0 && bytes <= most_bytes(), "a message of {} bytes, not 1 to {}", bytes,
                most_bytes());
  COLLIE_ASSERT(tag < control_tag, "tag {} is too large", tag);
  check();
  Buffer buffer = context_->createUnboundBuffer(data, bytes);
  posts_->add({buffer.get(), peer, tag, sends});
  if (sends && bytes > most_small_bytes) posts_->flush();
  return std::make_unique<GlooTransfer>(*this, peer, sends, std::move(buffer), std::move(owner));
}

void GlooLink::refused(const GlooPost& post, const gloo::Exception& error) {
  {
    const Lock lock(mutex_);
    refused_[post.buffer] = reason_of_gloo(error);
  }
  post.sends ? post.buffer->abortWaitSend() : post.buffer->abortWaitRecv();
}

void GlooLink::wait(gloo::transport::UnboundBuffer& buffer, int peer, bool sends, Patience patience) {
  const milliseconds limit = patience == Patience::limited ? options_.transfer_timeout : forever;
  {
    const Lock lock(mutex_);
    if (failure_) failure_->raise();
    waiting_[&buffer] = {peer, Clock::now() + limit};
  }
  std::string why;
  bool done = false;
  try {
    done = sends ? buffer.waitSend(forever) : buffer.waitRecv(forever);
  } catch (const gloo::Exception& error) {
    why = reason_of_gloo(error);
  }
  {
    const Lock lock(mutex_);
    waiting_.erase(&buffer);
    if (done) return;
    if (failure_) failure_->raise();
    if (const auto found = refused_.find(&buffer); found != refused_.end()) why = found->second;
  }
  lost(peer, why);
}

void GlooLink::keep(Buffer buffer, std::shared_ptr<const void> owner) {
  const Lock lock(mutex_);
  kept_.push_back({std::move(owner), std::move(buffer)});
}

// The connection has ended under a transfer. The peer knows the reason best, if it has sent it: its watcher
// reads that at this moment.
void GlooLink::lost(int peer, const std::string& why) {
  bool left = false;
  {
    Lock lock(mutex_);
    changed_.wait_for(lock, last_words, [&] { return failure_ || at(peer).left || at(peer).gone; });
    left = at(peer).left;
  }
  fail({false, gone(peer, left ? "it has left" : why)});
  const Lock lock(mutex_);
  failure_->raise();
}

}  // namespace

std::shared_ptr<ByteLink> connect_gloo(const GlooOptions& options, KeyStore& store) {
  COLLIE_ASSERT(options.size > 0 && options.rank >= 0 && options.rank < options.size, "rank {} of {}",
                options.rank, options.size);
  COLLIE_ASSERT(options.most_bytes > 0, "messages of no bytes");
  const auto link = std::make_shared<GlooLink>(options);
  link->open(store);
  return link;
}

}  // namespace collie::comm
