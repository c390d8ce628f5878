#include "net/gate.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/version.hpp"
#include "net/listening.hpp"

namespace collie {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// The kernel keeps this many connections until the gate accepts them; further peers have to retry.
constexpr int gate_backlog = 128;
constexpr auto between_reports = 30s;
constexpr auto without_descriptors = 100ms;

uint16_t port_of(int socket) {
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &size);
  return ntohs(own.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(own).sin6_port
                                         : reinterpret_cast<const sockaddr_in&>(own).sin_port);
}

// The number of places is limited so that enough descriptors are left for the run.
size_t places(size_t most) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return std::clamp<size_t>(limit.rlim_cur / 8, 4, most);
}

double thread_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// The processor time that the thread may still use. It saves up at most a tenth of a second.
class Allowance {
 public:
  bool used_up(double share) {
    share_ = share;
    const auto now = Clock::now();
    const double used = thread_seconds();
    const std::chrono::duration<double> passed = now - then_;
    left_ = std::min(most_, left_ + share_ * passed.count() - (used - used_then_));
    then_ = now;
    used_then_ = used;
    return left_ < 0;
  }
  // Returns the time until some of the allowance is back.
  std::chrono::milliseconds wait() const {
    return std::clamp(std::chrono::milliseconds(static_cast<int64_t>(-1000 * left_ / share_) + 1), 1ms,
                      200ms);
  }

 private:
  static constexpr double most_ = 0.1;
  double share_ = 1, left_ = most_, used_then_ = 0;
  Clock::time_point then_ = Clock::now();
};

// A peer at the gate.
class Visit {
 public:
  Visit(int socket, const PeerCredentials& credentials, const Gate::Policy& policy)
      : channel_(std::make_unique<PeerChannel>(socket, credentials, PeerChannel::Side::listens)),
        policy_(policy) {}

  enum class Status : uint8_t { waits, over, welcome };
  Status go_on() {
    while (true) {
      const PeerChannel::State state = step();
      if (state == PeerChannel::State::closed) return over();
      if (state != PeerChannel::State::done) {
        waits_for_ = state == PeerChannel::State::wait_to_read ? POLLIN : POLLOUT;
        return Status::waits;
      }
      if (handshake_ && handshake_->wants() == 0 && sent_ == to_send_.size())
        return handshake_->welcome() ? Status::welcome : over();
    }
  }

  pollfd to_poll() const { return {channel_->socket(), waits_for_, 0}; }
  Clock::time_point since() const { return since_; }
  std::string failure() const {
    if (handshake_ && !handshake_->failure().empty()) return handshake_->failure();
    return channel_->failure().empty() ? "went away before it had proved who it is" : channel_->failure();
  }
  // Returns the peer's request if it has proved its identity; else null.
  const PeerRequest* known() const {
    return handshake_ && handshake_->request().process != 0 ? &handshake_->request() : nullptr;
  }
  bool comes_again() const { return comes_again_; }
  void enter(const Gate::Enter& enter) { enter(std::move(channel_), std::move(hold_)); }

 private:
  // A peer without TLS that talks to a gate with TLS gets a plain answer. That answer differs from the answer
  // of a gate without TLS. The gate also reads what the peer has sent, because otherwise the end of the
  // connection would overtake the answer.
  Status over() const {
    constexpr std::string_view answer = "Only processes with certificates are heard here.                ";
    static_assert(answer.size() == 64);
    if (!handshake_) ::send(channel_->socket(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    std::array<char, 4096> rest;
    [[maybe_unused]] const ssize_t count = ::recv(channel_->socket(), rest.data(), rest.size(), MSG_DONTWAIT);
    return Status::over;
  }

  PeerChannel::State step() {
    if (!handshake_) {
      const auto state = channel_->encrypt();
      if (state == PeerChannel::State::done)
        handshake_.emplace(channel_->key(), engine_version(), [this](const PeerRequest& request) {
          Gate::Admission admission = policy_.admit(request, channel_->socket());
          hold_ = std::move(admission.hold);
          comes_again_ = admission.verdict.answer == PeerAnswer::not_now;
          return admission.verdict;
        });
      return state;
    }
    size_t count = 0;
    if (sent_ < to_send_.size()) {
      const auto state = channel_->write(std::span(to_send_).subspan(sent_), count);
      sent_ += count;
      return state;
    }
    const auto state = channel_->read(std::span(frame_).subspan(got_, handshake_->wants() - got_), count);
    got_ += count;
    if (got_ == handshake_->wants()) {
      to_send_ = handshake_->take(std::span(frame_).first(got_));
      got_ = sent_ = 0;
    }
    return state;
  }

  std::unique_ptr<PeerChannel> channel_;
  const Gate::Policy& policy_;
  std::shared_ptr<void> hold_;
  std::optional<ServerHandshake> handshake_;  // set once encrypted
  PeerBytes to_send_;
  std::array<uint8_t, largest_peer_frame> frame_{};
  size_t sent_ = 0, got_ = 0;
  short waits_for_ = POLLIN;
  bool comes_again_ = false;
  const Clock::time_point since_ = Clock::now();
};

}  // namespace

class Gate::Work {
 public:
  Work(int socket, const NodeAddress& address, PeerCredentials credentials, Policy policy, Enter enter,
       GateLimits limits)
      : socket_(socket),
        name_(to_string(address)),
        credentials_(std::move(credentials)),
        policy_(std::move(policy)),
        enter_(std::move(enter)),
        limits_(limits),
        places_(places(limits.most_pending)) {}
  ~Work() {
    ::close(socket_);
    ::close(wake_);
  }
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  void run() {
    while (!ends()) {
      if (is_used_up())
        wait({}, allowance_.wait());
      else
        serve();
    }
    visits_.clear();
  }
  void end() const {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof one);
  }

 private:
  using Visits = std::deque<std::unique_ptr<Visit>>;  // in the order of arrival

  bool ends() const {
    pollfd poll{wake_, POLLIN, 0};
    return ::poll(&poll, 1, 0) > 0;
  }

  std::vector<pollfd> wait(std::vector<pollfd> polls, std::chrono::milliseconds timeout) const {
    polls.push_back({wake_, POLLIN, 0});
    ::poll(polls.data(), polls.size(), static_cast<int>(timeout.count()));
    polls.pop_back();
    return polls;
  }

  // Whether a new peer would get a place. `until` is the time when that, or a time-out, may change.
  bool has_place(Clock::time_point now, Clock::time_point& until) const {
    if (now < accepts_again_) {
      until = std::min(until, accepts_again_);
      return false;
    }
    if (visits_.size() < places_) return true;
    const auto free = visits_.front()->since() + limits_.shortest_stay;
    if (now < free) until = std::min(until, free);
    return now >= free;
  }

  bool is_used_up() { return allowance_.used_up(policy_.quiet() ? limits_.quiet_share : limits_.idle_share); }

  void serve() {
    const auto now = Clock::now();
    auto until = now + 1h;
    const bool accepts = has_place(now, until);
    std::vector<pollfd> polls{{accepts ? socket_ : -1, POLLIN, 0}};
    for (const auto& visit : visits_) polls.push_back(visit->to_poll());
    if (!visits_.empty()) until = std::min(until, visits_.front()->since() + limits_.handshake_timeout);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now);
    polls = wait(std::move(polls), std::max(left, 0ms));
    Visits still;
    for (size_t i = 0; i < polls.size() - 1; ++i) {
      auto& visit = visits_[i];
      if (polls[i + 1].revents != 0 && !is_used_up() && !go_on(*visit)) continue;
      if (Clock::now() < visit->since() + limits_.handshake_timeout)
        still.push_back(std::move(visit));
      else
        report("said too little for too long");
    }
    visits_ = std::move(still);
    if (polls[0].revents != 0) accept();
  }

  // Returns whether the visit continues.
  bool go_on(Visit& visit) {
    try {
      switch (visit.go_on()) {
        case Visit::Status::waits:
          return true;
        case Visit::Status::over:
          if (const PeerRequest* const known = visit.known(); known == nullptr)
            report(visit.failure());
          else if (!visit.comes_again())
            refuse(*known, visit.failure());
          return false;
        case Visit::Status::welcome:
          visit.enter(enter_);
          return false;
      }
    } catch (const std::exception& error) {
      report(error.what());
    }
    return false;
  }

  void accept() {
    auto until = Clock::time_point::max();
    while (!is_used_up() && has_place(Clock::now(), until)) {
      const int socket = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (socket < 0) return could_not_accept();
      if (visits_.size() >= places_) {
        report("had to make room");
        visits_.pop_front();
      }
      try {
        visits_.push_back(std::make_unique<Visit>(socket, credentials_, policy_));
      } catch (const std::exception& error) {
        report(error.what());
      }
    }
  }

  // Without descriptors no peer can be accepted, and the kernel keeps reporting a waiting connection.
  void could_not_accept() {
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
    if (!visits_.empty()) visits_.pop_front();
    accepts_again_ = Clock::now() + without_descriptors;
  }

  void refuse(const PeerRequest& known, const std::string& why) const {
    log::info("{}: refused process {} on {}, of the run '{}': {}", name_, known.process, known.host,
              known.run, why);
    policy_.refused(known, why);
  }

  // Writes one line for all refusals within half a minute, however many strangers come.
  void report(const std::string& why) {
    ++refused_;
    const auto now = Clock::now();
    if (now < reports_again_) return;
    log::warn("{}: {} {} refused: {}", name_, refused_, refused_ == 1 ? "connection was" : "connections were",
              why);
    refused_ = 0;
    reports_again_ = now + between_reports;
  }

  const int socket_, wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const std::string name_;
  const PeerCredentials credentials_;
  const Policy policy_;
  const Enter enter_;
  const GateLimits limits_;
  const size_t places_;
  Allowance allowance_;
  Visits visits_;
  Clock::time_point accepts_again_{}, reports_again_{};
  size_t refused_ = 0;
};

Gate::Gate(const NodeAddress& address, const ClusterSection& cluster, const std::string& what, Policy policy,
           Enter enter, GateLimits limits) {
  PeerCredentials credentials(cluster);
  const int socket = listen_at(address, what, gate_backlog).release();
  port_ = port_of(socket);
  NodeAddress own = address;
  own.port = port_;
  work_ = std::make_unique<Work>(socket, own, std::move(credentials), std::move(policy), std::move(enter),
                                 limits);
  // Signals are left to the threads of the gate's maker.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { work_->run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Gate::~Gate() {
  close();
}

void Gate::close() {
  if (!thread_.joinable()) return;
  work_->end();
  thread_.join();
  work_.reset();  // also drops everything that policy and `enter` hold
}

}  // namespace collie
