#include "net/occupation.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>

namespace collie {

struct Occupation::Holder {
  Holder(PeerRequest who, int connection)
      : request(std::move(who)), socket(::fcntl(connection, F_DUPFD_CLOEXEC, 0)) {}
  ~Holder() {
    if (socket >= 0) ::close(socket);
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;

  // The kernel knows this before anybody has read the end of the connection.
  bool has_left() const {
    pollfd poll{socket, POLLRDHUP, 0};
    return ::poll(&poll, 1, 0) > 0;
  }

  const PeerRequest request;
  const int socket;  // a duplicate of the connection's descriptor
  const std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
};

Occupation::Claim Occupation::claim(const PeerRequest& request, int socket) {
  const std::lock_guard lock(mutex_);
  const Hold holder = holder_.lock();
  if (holder && holder->request.identity == request.identity && !holder->has_left())
    return {{PeerAnswer::welcome, ""}, holder};
  if (holder)
    return {
        {holder->has_left() ? PeerAnswer::not_now : PeerAnswer::refused,
         fmt::format("is busy with the run '{}' of process {} on {}; wait for its end, or take another node",
                     holder->request.run, holder->request.process, holder->request.host)},
        nullptr};
  auto made = std::make_shared<Holder>(request, socket);
  holder_ = made;
  return {{PeerAnswer::welcome, ""}, std::move(made)};
}

bool Occupation::is_settled() const {
  const Hold holder = current();
  return holder && std::chrono::steady_clock::now() > holder->since + std::chrono::seconds(3);
}

Occupation::Hold Occupation::current() const {
  const std::lock_guard lock(mutex_);
  return holder_.lock();
}

}  // namespace collie
