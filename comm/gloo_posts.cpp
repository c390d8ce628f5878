#include "comm/gloo_posts.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.hpp"

namespace collie::comm {

GlooPosts::GlooPosts(std::shared_ptr<gloo::transport::tcp::Device> device,
                     std::function<void(const GlooPost&, const gloo::Exception&)> refused)
    : device_(std::move(device)),
      refused_(std::move(refused)),
      bell_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  COLLIE_ASSERT(device_ != nullptr, "the device is not one of Gloo's TCP transport");
  if (bell_ < 0) throw RunError("an eventfd is needed: {}", std::strerror(errno));
  device_->registerDescriptor(bell_, EPOLLIN, this);
}

GlooPosts::~GlooPosts() {
  device_->unregisterDescriptor(bell_, this);  // afterwards the thread is no longer in this object
  // Gloo does not synchronise that call with a lock of its own. This lock orders what the thread did last
  // before the end.
  const std::lock_guard in_order(order_);
  ::close(bell_);
}

void GlooPosts::add(const GlooPost& post) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = waiting_.empty();
    waiting_.push_back(post);
  }
  // The thread that added the first one has rung for all.
  if (first) ::eventfd_write(bell_, 1);
}

void GlooPosts::flush() {
  const std::lock_guard in_order(order_);
  make_posts();
}

void GlooPosts::make_posts() {
  std::vector<GlooPost> posts;
  {
    const std::lock_guard lock(mutex_);
    posts.swap(waiting_);
  }
  for (const GlooPost& post : posts) {
    try {
      if (post.sends)
        post.buffer->send(post.peer, post.tag);
      else
        post.buffer->recv(post.peer, post.tag);
    } catch (const gloo::Exception& error) {
      refused_(post, error);
    }
  }
}

void GlooPosts::handleEvents(int) {
  const std::lock_guard in_order(order_);
  eventfd_t rings = 0;
  ::eventfd_read(bell_, &rings);
  make_posts();
}

}  // namespace collie::comm
