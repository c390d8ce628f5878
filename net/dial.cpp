#include "net/dial.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>

#include "base/error.hpp"

namespace collie {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// A full gate drops new connections silently. An early retry is better than the kernel's own retry, which
// comes after a second.
constexpr auto longest_knock = 400ms;
constexpr auto longest_handshake = 4s;
constexpr auto between_attempts = 100ms;

// The reason of a failed attempt that may succeed next time.
struct NotYet {
  std::string why;
};

bool wait(int socket, short events, Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  pollfd poll{socket, events, 0};
  return ::poll(&poll, 1, static_cast<int>(std::max<int64_t>(left.count(), 0))) > 0;
}

class Attempt {
 public:
  Attempt(const NodeAddress& address, const PeerCredentials& credentials, const PeerRequest& request,
          const std::string& what)
      : address_(address),
        credentials_(credentials),
        request_(request),
        where_(what + " " + to_string(address)),
        what_(what) {}

  std::unique_ptr<PeerChannel> make() {
    channel_ = std::make_unique<PeerChannel>(connect(), credentials_, PeerChannel::Side::connects);
    deadline_ = Clock::now() + longest_handshake;
    encrypt();
    ClientHandshake handshake(channel_->key(), request_);
    send(handshake.hello());
    while (handshake.wants() > 0) {
      std::array<uint8_t, largest_peer_frame> frame{};
      receive(std::span(frame).first(handshake.wants()));
      send(handshake.take(std::span(frame).first(handshake.wants())));
    }
    judge(handshake.verdict());
    return std::move(channel_);
  }

  [[noreturn]] void give_up(const std::string& why) const {
    throw Unreachable(
        "{}: cannot be reached: {}{}", where_, why,
        what_ == "node" ? "; start it with 'collie-engine node --listen " + to_string(address_) + "'" : "");
  }

 private:
  int connect() {
    const AddressList found = resolve(address_.host, address_.port, what_);
    const int socket = ::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (socket < 0) give_up(std::strerror(errno));
    int error = ::connect(socket, found->ai_addr, found->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
      socklen_t size = sizeof error;
      if (!wait(socket, POLLOUT, Clock::now() + longest_knock))
        error = ETIMEDOUT;
      else
        ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error == 0) return socket;
    ::close(socket);
    if (error == ETIMEDOUT || error == EAGAIN || error == ECONNRESET) throw NotYet{std::strerror(error)};
    give_up(std::strerror(error));
  }

  // Waits until the operation can continue. A connection that ends without a reason may have met a full gate.
  void wait_for(PeerChannel::State state) {
    if (state == PeerChannel::State::closed) {
      if (!channel_->failure().empty()) refuse_as_stranger(channel_->failure());
      throw NotYet{"it ended the connection"};
    }
    const short events = state == PeerChannel::State::wait_to_read ? POLLIN : POLLOUT;
    if (!wait(channel_->socket(), events, deadline_)) throw NotYet{"it does not answer"};
  }

  void encrypt() {
    for (auto state = channel_->encrypt(); state != PeerChannel::State::done; state = channel_->encrypt())
      wait_for(state);
    if (channel_->is_for(address_)) return;
    throw UserError(
        "{}: its certificate is for {}, not for '{}'; use one of its names in the address, or a certificate "
        "whose subjectAltName has this one",
        where_, channel_->names(), address_.name.empty() ? address_.host : address_.name);
  }

  void send(std::span<const uint8_t> bytes) {
    while (!bytes.empty()) {
      size_t count = 0;
      const auto state = channel_->write(bytes, count);
      bytes = bytes.subspan(count);
      if (state != PeerChannel::State::done) wait_for(state);
    }
  }
  void receive(std::span<uint8_t> bytes) {
    bool begun = false;
    while (!bytes.empty()) {
      size_t count = 0;
      const auto state = channel_->read(bytes, count);
      bytes = bytes.subspan(count);
      begun = begun || count > 0;
      if (begun && state == PeerChannel::State::closed) refuse_as_stranger("it speaks something else");
      if (state != PeerChannel::State::done) wait_for(state);
    }
  }

  [[noreturn]] void refuse_as_stranger(const std::string& why) const {
    throw UserError(
        "{}: what listens there is no collie-engine that this process may talk to ({}). Both must use "
        "certificates of the same authority (cluster.tls), or neither",
        where_, why);
  }

  void judge(const PeerVerdict& verdict) const {
    switch (verdict.answer) {
      case PeerAnswer::welcome:
        return;
      case PeerAnswer::not_now:
        throw NotYet{verdict.reason};
      case PeerAnswer::refused:
        throw UserError("{}: {}", where_, verdict.reason);
      case PeerAnswer::other_protocol:
        refuse_as_stranger(verdict.reason);
      case PeerAnswer::stranger:
        break;
    }
    if (!verdict.reason.empty()) throw UserError("{}: {}", where_, verdict.reason);
    throw UserError(
        "{}: has another secret; both must have the same (cluster.secret_file, 'node --secret-file' or "
        "COLLIE_ENGINE_SECRET; without them each user has an own one)",
        where_);
  }

  const NodeAddress& address_;
  const PeerCredentials& credentials_;
  const PeerRequest& request_;
  const std::string where_, what_;
  Clock::time_point deadline_;
  std::unique_ptr<PeerChannel> channel_;
};

}  // namespace

std::unique_ptr<PeerChannel> dial(const NodeAddress& address, const PeerCredentials& credentials,
                                  const PeerRequest& request, const std::string& what,
                                  std::chrono::milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  while (true) {
    Attempt attempt(address, credentials, request, what);
    try {
      return attempt.make();
    } catch (const NotYet& reason) {
      if (Clock::now() > deadline) attempt.give_up(reason.why);
      std::this_thread::sleep_for(between_attempts);
    }
  }
}

}  // namespace collie
