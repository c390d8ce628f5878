#include "tests/comm/memory_link.hpp"

#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <tuple>

namespace collie::test {
namespace {

using comm::ByteLink;
using comm::GroupFailure;
using comm::Patience;

struct Post {
  std::byte* data = nullptr;
  size_t bytes = 0;
  std::shared_ptr<const void> owner;
  bool done = false;
  std::condition_variable changed;
};

// Everything that the ends share.
struct Hub {
  using Key = std::tuple<int, int, uint64_t>;  // from, to, tag
  using Queue = std::deque<std::shared_ptr<Post>>;

  void match(const Key& key) {
    Queue &from = sends[key], &to = receives[key];
    while (!from.empty() && !to.empty()) {
      if (from.front()->bytes > to.front()->bytes) std::abort();
      std::memcpy(to.front()->data, from.front()->data, from.front()->bytes);
      for (Queue* queue : {&from, &to}) {
        queue->front()->done = true;
        queue->front()->changed.notify_all();
        queue->pop_front();
      }
    }
  }

  std::mutex mutex;
  std::map<Key, Queue> sends, receives;
  std::optional<GroupFailure> failure;
};

class MemoryTransfer : public comm::Transfer {
 public:
  MemoryTransfer(std::shared_ptr<Hub> hub, std::shared_ptr<Post> post)
      : hub_(std::move(hub)), post_(std::move(post)) {}

  void wait(Patience) override {
    std::unique_lock lock(hub_->mutex);
    post_->changed.wait(lock, [&] { return post_->done || hub_->failure; });
    if (!post_->done) hub_->failure->raise();
  }

 private:
  std::shared_ptr<Hub> hub_;
  std::shared_ptr<Post> post_;
};

class MemoryLink : public ByteLink {
 public:
  MemoryLink(std::shared_ptr<Hub> hub, int rank, int size, size_t most_bytes)
      : hub_(std::move(hub)), rank_(rank), size_(size), most_bytes_(most_bytes) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  size_t most_bytes() const override { return most_bytes_; }

  std::unique_ptr<comm::Transfer> send(int peer, uint64_t tag, std::span<const std::byte> bytes,
                                       std::shared_ptr<const void> owner) override {
    return post({rank_, peer, tag}, hub_->sends, const_cast<std::byte*>(bytes.data()), bytes.size(), owner);
  }
  std::unique_ptr<comm::Transfer> receive(int peer, uint64_t tag, std::span<std::byte> bytes,
                                          std::shared_ptr<const void> owner) override {
    return post({peer, rank_, tag}, hub_->receives, bytes.data(), bytes.size(), owner);
  }

  void check() const override {
    const std::lock_guard lock(hub_->mutex);
    if (hub_->failure) hub_->failure->raise();
  }
  void fail(const GroupFailure& failure) override {
    const std::lock_guard lock(hub_->mutex);
    if (hub_->failure) return;
    hub_->failure = failure;
    for (auto* posts : {&hub_->sends, &hub_->receives})
      for (auto& [key, queue] : *posts)
        for (auto& post : queue) post->changed.notify_all();
  }
  void abort(const std::string& cause) override { fail({true, cause}); }

 private:
  std::unique_ptr<comm::Transfer> post(const Hub::Key& key, std::map<Hub::Key, Hub::Queue>& posts,
                                       std::byte* data, size_t bytes,
                                       const std::shared_ptr<const void>& owner) {
    const auto [from, to, tag] = key;
    COLLIE_ASSERT(from != to && from >= 0 && from < size_ && to >= 0 && to < size_, "from {} to {}", from,
                  to);
    COLLIE_ASSERT(bytes > 0 && bytes <= most_bytes_ && tag < uint64_t{1} << 63, "{} bytes", bytes);
    auto post = std::make_shared<Post>();
    post->data = data;
    post->bytes = bytes;
    post->owner = owner;
    const std::lock_guard lock(hub_->mutex);
    if (hub_->failure) hub_->failure->raise();
    posts[key].push_back(post);
    hub_->match(key);
    return std::make_unique<MemoryTransfer>(hub_, post);
  }

  std::shared_ptr<Hub> hub_;
  int rank_, size_;
  size_t most_bytes_;
};

}  // namespace

std::vector<std::shared_ptr<ByteLink>> make_memory_links(int size, size_t most_bytes) {
  const auto hub = std::make_shared<Hub>();
  std::vector<std::shared_ptr<ByteLink>> links;
  for (int rank = 0; rank < size; ++rank)
    links.push_back(std::make_shared<MemoryLink>(hub, rank, size, most_bytes));
  return links;
}

}  // namespace collie::test
