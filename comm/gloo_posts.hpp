// Posts messages on the thread that moves Gloo's traffic, in the order in which they were given.
//
// Gloo's thread asks for a connection's lock without waiting and polls its sockets again where it does not
// get it: somebody else who posts, and holds the lock while the kernel delivers the message, makes it spin.
// On busy cores it then uses up the very time that the other needs (25 polls a message and milliseconds a
// collective of four ranks). So nobody else posts.
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
  gloo::transport::UnboundBuffer* buffer = nullptr;  // lives until the post was made, or this object is gone
  int peer = 0;
  uint64_t tag = 0;
  bool sends = false;
};

class GlooPosts final : private gloo::transport::tcp::Handler {
 public:
  // `refused(post, why)` is called for a post that Gloo does not take, on the thread that made it. RunError
  // where the system has no descriptor left.
  GlooPosts(std::shared_ptr<gloo::transport::tcp::Device> device,
            std::function<void(const GlooPost&, const gloo::Exception&)> refused);
  ~GlooPosts() override;  // what is still waiting is dropped
  GlooPosts(const GlooPosts&) = delete;
  GlooPosts& operator=(const GlooPosts&) = delete;

  // Returns at once; from any thread. There are no more of them than messages that their users keep.
  void add(const GlooPost& post);
  // Makes what waits, on this thread.
  void flush();

 private:
  void handleEvents(int events) override;
  void make_posts();  // with order_

  const std::shared_ptr<gloo::transport::tcp::Device> device_;
  const std::function<void(const GlooPost&, const gloo::Exception&)> refused_;
  int bell_ = -1;     // an eventfd that the thread watches
  std::mutex order_;  // held while posts are made
  std::mutex mutex_;
  std::vector<GlooPost> waiting_;
};

}  // namespace collie::comm
