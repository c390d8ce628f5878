#include "net/page_server.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "net/listening.hpp"

namespace collie {

namespace {

using PageClock = std::chrono::steady_clock;

constexpr int page_backlog = 16;

// The first line of a request, "GET /metrics HTTP/1.1".
struct RequestLine {
  std::string_view method, path;  // without a query
  bool is_http = false;
};

RequestLine request_line_of(std::string_view request) {
  std::string_view line = request.substr(0, request.find('\n'));
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  const size_t first = line.find(' '), second = first == line.npos ? first : line.find(' ', first + 1);
  if (second == line.npos) return {};
  RequestLine parts;
  parts.method = line.substr(0, first);
  parts.path = line.substr(first + 1, second - first - 1);
  parts.path = parts.path.substr(0, parts.path.find('?'));
  parts.is_http =
      line.substr(second + 1).starts_with("HTTP/1.") && !parts.method.empty() && parts.path.starts_with('/');
  return parts;
}

// Whether the head of the request is whole: an empty line ends it.
bool is_whole(std::string_view request) {
  return request.find("\r\n\r\n") != request.npos || request.find("\n\n") != request.npos;
}

std::string response(std::string_view status, const std::string& content_type, const std::string& body,
                     bool with_body = true, const std::string& more = "") {
  return fmt::format(
      "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{}"
      "Connection: close\r\n\r\n{}",
      status, content_type, body.size(), more, with_body ? body : "");
}

std::string plain(std::string_view status, const std::string& words, const std::string& more = "") {
  return response(status, "text/plain; charset=utf-8", words + "\n", true, more);
}

std::string answer_to(std::string_view request, const ServedPage& page) {
  const RequestLine line = request_line_of(request);
  if (!line.is_http) return plain("400 Bad Request", "This is no request of HTTP/1.1.");
  const bool is_head = line.method == "HEAD";
  if (line.method != "GET" && !is_head)
    return plain("405 Method Not Allowed", "GET is what is answered here.", "Allow: GET, HEAD\r\n");
  if (line.path != page.path) return plain("404 Not Found", "The page is " + page.path + ".");
  try {
    return response("200 OK", page.content_type, page.make(), !is_head);
  } catch (const std::exception& error) {
    return plain("500 Internal Server Error", error.what());
  }
}

// A connection reads a request, sends the answer, and then reads until its client has closed: what is not
// read would make the kernel take back the answer.
class PageConnection {
 public:
  PageConnection(Descriptor socket, const PageServerLimits& limits)
      : socket_(std::move(socket)), limits_(limits), deadline_(PageClock::now() + limits.patience) {}

  pollfd to_poll() const { return {socket_.get(), static_cast<short>(sends() ? POLLOUT : POLLIN), 0}; }
  PageClock::time_point deadline() const { return deadline_; }

  // Does what can be done now. Returns false when the connection is over.
  bool go_on(const ServedPage& page) {
    if (sends()) return send();
    std::array<char, 4096> bytes;
    const ssize_t count = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    if (count == 0) return false;
    read_ += static_cast<size_t>(count);
    if (answered_) return read_ <= most_ignored * limits_.most_request_bytes;
    request_.append(bytes.data(), static_cast<size_t>(count));
    if (is_whole(request_))
      answer(answer_to(request_, page));
    else if (request_.size() > limits_.most_request_bytes)
      answer(plain("431 Request Header Fields Too Large", "The request is too long."));
    return true;
  }

 private:
  // So much more than a request may have is read and ignored after an answer.
  static constexpr size_t most_ignored = 16;

  bool sends() const { return sent_ < answer_.size(); }
  void answer(std::string text) {
    answer_ = std::move(text);
    answered_ = true;
    request_.clear();
  }
  bool send() {
    const ssize_t count = ::send(socket_.get(), answer_.data() + sent_, answer_.size() - sent_, MSG_NOSIGNAL);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    sent_ += static_cast<size_t>(count);
    if (!sends()) ::shutdown(socket_.get(), SHUT_WR);
    return true;
  }

  Descriptor socket_;
  const PageServerLimits& limits_;
  PageClock::time_point deadline_;
  std::string request_, answer_;
  size_t read_ = 0, sent_ = 0;
  bool answered_ = false;
};

}  // namespace

class PageServer::Work {
 public:
  Work(Descriptor listening, ServedPage page, PageServerLimits limits)
      : listening_(std::move(listening)),
        page_(std::move(page)),
        limits_(limits),
        wake_(::eventfd(0, EFD_CLOEXEC)) {}

  void run() {
    // On Linux a priority is a thread's own.
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 19);
    while (!closed_) turn();
  }
  void close() {
    closed_ = true;
    const uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
  }

 private:
  void turn() {
    std::vector<pollfd> waits{{wake_.get(), POLLIN, 0}};
    const bool has_room = connections_.size() < limits_.most_connections;
    if (has_room) waits.push_back({listening_.get(), POLLIN, 0});
    const size_t first = waits.size();
    for (const auto& connection : connections_) waits.push_back(connection->to_poll());
    ::poll(waits.data(), waits.size(), until_next_deadline());
    // From behind, so that indices stay.
    for (size_t i = connections_.size(); i-- > 0;) {
      const bool over = (waits[first + i].revents != 0 && !connections_[i]->go_on(page_)) ||
                        connections_[i]->deadline() <= PageClock::now();
      if (over) connections_.erase(connections_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (has_room && waits[1].revents != 0) accept();
  }

  // Milliseconds; -1: there is none.
  int until_next_deadline() const {
    if (connections_.empty()) return -1;
    auto next = connections_.front()->deadline();
    for (const auto& connection : connections_) next = std::min(next, connection->deadline());
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - PageClock::now());
    return static_cast<int>(std::max<int64_t>(0, left.count()));
  }

  // The pause bounds what a flood of connections costs.
  void accept() {
    Descriptor socket(::accept4(listening_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket.is_open())
      connections_.push_back(std::make_unique<PageConnection>(std::move(socket), limits_));
    std::this_thread::sleep_for(limits_.between_connections);
  }

  Descriptor listening_;
  ServedPage page_;
  PageServerLimits limits_;
  Descriptor wake_;
  std::atomic<bool> closed_{false};
  std::vector<std::unique_ptr<PageConnection>> connections_;
};

PageServer::PageServer(const NodeAddress& address, const std::string& what, ServedPage page,
                       PageServerLimits limits)
    : work_(std::make_unique<Work>(listen_at(address, what, page_backlog), std::move(page), limits)) {
  // Signals are left to the other threads.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { work_->run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

PageServer::~PageServer() {
  work_->close();
  thread_.join();
}

}  // namespace collie
