#include "base/screen.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <csignal>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>

namespace collie {
namespace {

constexpr size_t most_waiting_bytes = 64 * 1024;
// For a pipe or terminal that could not be opened a second time and has room: so few bytes do not wait.
constexpr size_t small = 512;
constexpr std::string_view clear_line = "\r\033[K";

bool is_set(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

// Makes a reader that is gone an error, whatever the process does with its signals.
class NoBrokenPipeSignal {
 public:
  NoBrokenPipeSignal() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoBrokenPipeSignal() {
    const int error = errno;
    const timespec now{0, 0};
    if (!was_pending_) ::sigtimedwait(&pipe_, nullptr, &now);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = error;
  }
  NoBrokenPipeSignal(const NoBrokenPipeSignal&) = delete;
  NoBrokenPipeSignal& operator=(const NoBrokenPipeSignal&) = delete;

 private:
  sigset_t pipe_{}, before_{};
  bool was_pending_ = false;
};

int open_once_more(int descriptor) {
  const std::string path = fmt::format("/proc/self/fd/{}", descriptor);
  return ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

}  // namespace

Screen::Screen(int descriptor) : descriptor_(descriptor) {
  struct stat status {};
  const bool known = ::fstat(descriptor, &status) == 0;
  const bool terminal = ::isatty(descriptor) == 1;
  socket_ = known && S_ISSOCK(status.st_mode);
  may_wait_ = terminal || (known && S_ISFIFO(status.st_mode));
  if (may_wait_) own_ = open_once_more(descriptor);
  rewrites_ = terminal && is_set("TERM") && std::string_view(std::getenv("TERM")) != "dumb";
  colours_ = rewrites_ && !is_set("NO_COLOR");
}

Screen::~Screen() {
  if (own_ >= 0) ::close(own_);
}

int Screen::columns() const {
  winsize size{};
  return ::ioctl(descriptor_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

long Screen::put(std::string_view bytes) {
  while (true) {
    ssize_t taken = 0;
    if (socket_) {
      taken = ::send(descriptor_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    } else if (own_ >= 0) {
      taken = ::write(own_, bytes.data(), bytes.size());
    } else if (may_wait_) {
      pollfd room{descriptor_, POLLOUT, 0};
      if (::poll(&room, 1, 0) <= 0) return 0;
      taken = ::write(descriptor_, bytes.data(), std::min(bytes.size(), small));
    } else {
      taken = ::write(descriptor_, bytes.data(), bytes.size());
    }
    if (taken > 0) return taken;
    if (taken < 0 && errno == EINTR) continue;
    return taken < 0 && errno != EAGAIN && errno != EWOULDBLOCK ? -1 : 0;
  }
}

void Screen::push(Entry entry) {
  const bool last_is_untouched = waiting_.size() > 1 || (waiting_.size() == 1 && taken_ == 0);
  if (entry.passing && last_is_untouched && waiting_.back().passing) {
    waiting_bytes_ -= waiting_.back().bytes.size();
    waiting_.pop_back();
  }
  waiting_bytes_ += entry.bytes.size();
  waiting_.push_back(std::move(entry));
  while (waiting_bytes_ > most_waiting_bytes && waiting_.size() > 1) drop_oldest();
  drain();
}

// Keeps the line that is partly written and the line that counts the dropped ones.
void Screen::drop_oldest() {
  const bool first_stays = waiting_.size() > 1 && (taken_ > 0 || waiting_.front().gap);
  const auto oldest = waiting_.begin() + (first_stays ? 1 : 0);
  left_out_ += static_cast<size_t>(std::count(oldest->bytes.begin(), oldest->bytes.end(), '\n'));
  waiting_bytes_ -= oldest->bytes.size();
  waiting_.erase(oldest);
}

void Screen::drain() {
  if (waiting_.empty()) return;
  const NoBrokenPipeSignal guard;
  while (!waiting_.empty()) {
    if (left_out_ > 0 && taken_ == 0) say_what_is_left_out();
    const std::string& first = waiting_.front().bytes;
    const long taken = put(std::string_view(first).substr(taken_));
    if (taken == 0) return;
    if (taken < 0) {
      waiting_.clear();
      waiting_bytes_ = taken_ = left_out_ = 0;
      return;
    }
    if (waiting_.front().gap) left_out_ = 0;
    taken_ += static_cast<size_t>(taken);
    if (taken_ < first.size()) continue;
    waiting_bytes_ -= first.size();
    taken_ = 0;
    waiting_.pop_front();
  }
}

void Screen::say_what_is_left_out() {
  if (!waiting_.front().gap) waiting_.push_front({"", false, true});
  Entry& gap = waiting_.front();
  waiting_bytes_ -= gap.bytes.size();
  gap.bytes = fmt::format("({} lines are left out here: nobody read them in time)\n", left_out_);
  waiting_bytes_ += gap.bytes.size();
}

void Screen::write(std::string_view lines) {
  if (lines.empty()) return;
  const std::lock_guard lock(mutex_);
  if (shown_.empty()) return push({std::string(lines), false, false});
  push({fmt::format("{}{}{}", clear_line, lines, shown_), false, false});
}

void Screen::rewrite(const std::string& text) {
  const std::lock_guard lock(mutex_);
  shown_ = text;
  push({fmt::format("{}{}", clear_line, text), true, false});
}

void Screen::keep() {
  const std::lock_guard lock(mutex_);
  if (shown_.empty()) return;
  push({fmt::format("{}{}\n", clear_line, shown_), false, false});
  shown_.clear();
}

void Screen::flush(std::chrono::milliseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  const std::lock_guard lock(mutex_);
  for (drain(); !waiting_.empty() && std::chrono::steady_clock::now() < end; drain()) {
    constexpr int slice_ms = 20;
    pollfd room{descriptor_, POLLOUT, 0};
    ::poll(&room, 1, slice_ms);
  }
}

Screen& standard_error() {
  static Screen& screen = *new Screen(STDERR_FILENO);
  return screen;
}

}  // namespace collie
