// Posts messages on the thread that moves Gloo's traffic, in the order in which they were given.
//
// Gloo's thread tries to take a connection's lock without waiting, and if it fails it polls its sockets
// again. If another thread posts, it holds the lock while the kernel delivers the message, and Gloo's thread
// spins. On busy cores the spinning then uses up the time that the other thread needs (25 polls per message,
// and milliseconds per collective of four ranks). So only Gloo's thread posts.
#pragma once

#include <gloo/common/error.h>
#include <gloo/transport/tcp/device.h>
#include <gloo/transport/unbound_buffer.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace collie::comm {

struct GlooPost {
  gloo::transport::UnboundBuffer* buffer = nullptr;  // lives until the post is made or dropped
  int peer = 0;
  uint64_t tag = 0;
  bool sends = false;
};

class GlooPosts final : private gloo::transport::tcp::Handler {
 public:
  // `refused(post, why)` is called for a post that Gloo does not take, on the thread that made it. Throws
  // RunError if the system has no descriptor left.
  GlooPosts(std::shared_ptr<gloo::transport::tcp::Device> device,
            std::function<void(const GlooPost&, const gloo::Exception&)> refused);
  ~GlooPosts() override;  // drops the posts that still wait
  GlooPosts(const GlooPosts&) = delete;
  GlooPosts& operator=(const GlooPosts&) = delete;

  // Returns at once; any thread may call it. The number of waiting posts is bounded by the messages that
  // their users keep.
  void add(const GlooPost& post);
  // Makes the waiting posts on this thread.
  void flush();

 private:
  void handleEvents(int events) override;
  void make_posts();  // the caller holds order_

  const std::shared_ptr<gloo::transport::tcp::Device> device_;
  const std::function<void(const GlooPost&, const gloo::Exception&)> refused_;
  int bell_ = -1;     // an eventfd that the thread watches
  std::mutex order_;  // held while posts are made
  std::mutex mutex_;
  std::vector<GlooPost> waiting_;
};

}  // namespace collie::comm
