// The project's errors. The type that is thrown decides the exit code of the command.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace collie {

// The user's input was wrong (configuration, paths, files): exit code 2. The message names the file, key,
// tensor or rank, what was found, and what would be right.
class UserError : public std::runtime_error {
 public:
  explicit UserError(const std::string& message) : std::runtime_error(message) {}
  template <class First, class... Rest>
  explicit UserError(fmt::format_string<First, Rest...> format, First&& first, Rest&&... rest)
      : std::runtime_error(fmt::format(format, std::forward<First>(first), std::forward<Rest>(rest)...)) {}
};

// The run failed after it had started (disk full, NaN loss, a rank died): exit code 1.
class RunError : public std::runtime_error {
 public:
  explicit RunError(const std::string& message) : std::runtime_error(message) {}
  template <class First, class... Rest>
  explicit RunError(fmt::format_string<First, Rest...> format, First&& first, Rest&&... rest)
      : std::runtime_error(fmt::format(format, std::forward<First>(first), std::forward<Rest>(rest)...)) {}
};

// A wait was cancelled from outside with abort(cause). The cause is reported at its origin, not here.
class Aborted : public RunError {
 public:
  explicit Aborted(const std::string& cause) : RunError("aborted: " + cause) {}
};

namespace detail {
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line,
                                   const std::string& message);
}

}  // namespace collie

// Checks for a programmer's mistake, in every build type. Throws std::logic_error. COLLIE_ASSERT(condition,
// "format", arguments...)
#define COLLIE_ASSERT(condition, ...)                                                                 \
  do {                                                                                                \
    if (!(condition)) [[unlikely]]                                                                    \
      ::collie::detail::assertion_failed(#condition, __FILE__, __LINE__, ::fmt::format(__VA_ARGS__)); \
  } while (false)
