#include "app/signals.hpp"

#include <poll.h>
#include <unistd.h>
#include <csignal>

#include <atomic>
#include <cerrno>

#include "base/error.hpp"

namespace collie::signals {
namespace {

constexpr int interrupted = 130;

std::atomic<bool> held{false};
std::atomic<int> ends{0}, saves{0};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

// Calls only functions that a signal handler may call.
[[noreturn]] void end_at_once() {
  constexpr char text[] = "warning: ended at once by a signal\n";
  pollfd room{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&room, 1, 0) == 1) {
    [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, text, sizeof text - 1);
  }
  ::_exit(interrupted);
}

extern "C" void on_ending_signal(int) {
  const int error = errno;
  if (!held.load() || ends.fetch_add(1) > 0) end_at_once();
  errno = error;
}

extern "C" void on_saving_signal(int) {
  saves.fetch_add(1);
}

void handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  ::sigaction(signal, &action, nullptr);
}

bool is_ignored(int signal) {
  struct sigaction action {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

void install() {
  handle(SIGPIPE, SIG_IGN);
  handle(SIGXFSZ, SIG_IGN);
  handle(SIGINT, on_ending_signal);
  handle(SIGTERM, on_ending_signal);
  if (!is_ignored(SIGHUP)) handle(SIGHUP, on_ending_signal);
  handle(SIGUSR1, on_saving_signal);
  sigset_t ours;
  sigemptyset(&ours);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) sigaddset(&ours, signal);
  ::sigprocmask(SIG_UNBLOCK, &ours, nullptr);
}

Held::Held() : saves_seen_(saves.load()) {
  COLLIE_ASSERT(!held.load(), "signals are held twice");
  ends.store(0);
  held.store(true);
}

Held::~Held() {
  held.store(false);
}

Wish Held::wish() {
  if (const int now = ends.load(); now > ends_seen_) {
    ends_seen_ = now;
    return Wish::end;
  }
  if (const int now = saves.load(); now > saves_seen_) {
    saves_seen_ = now;
    return Wish::save;
  }
  return Wish::none;
}

}  // namespace collie::signals
