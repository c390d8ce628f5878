#include "app/last_words.hpp"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <exception>
#include <string>
#include <string_view>

#include "base/limits.hpp"

namespace collie {
namespace {

constexpr int exit_failed = 1;
constexpr int patience_ms = 500;  // time for the reader

[[noreturn]] void say_and_end(std::string_view message) {
  pollfd room{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&room, 1, patience_ms) == 1) {
    [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, message.data(), message.size());
  }
  ::_exit(exit_failed);
}

std::string reason() {
  if (std::current_exception()) return reason_of_current_exception();
  const std::string short_of = shortage();
  return short_of.empty() ? "a library gave up without saying why" : short_of;
}

[[noreturn]] void on_terminate() noexcept {
  static std::atomic_flag ending;
  while (ending.test_and_set()) ::pause();  // another thread is already here
  try {
    say_and_end("error: " + reason() + "\n");
  } catch (...) {
    say_and_end("error: out of memory\n");
  }
}

}  // namespace

void end_with_words() {
  std::set_terminate(on_terminate);
}

}  // namespace collie
