// What goes wrong while a template is evaluated. The template adds its file and line and makes a UserError of
// it.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace collie::jinja {

class Problem : public std::runtime_error {
 public:
  explicit Problem(const std::string& message) : std::runtime_error(message) {}
  template <class First, class... Rest>
  explicit Problem(fmt::format_string<First, Rest...> format, First&& first, Rest&&... rest)
      : std::runtime_error(fmt::format(format, std::forward<First>(first), std::forward<Rest>(rest)...)) {}
};

// What the template itself refuses, by raise_exception(MESSAGE).
class Refusal : public Problem {
 public:
  explicit Refusal(const std::string& message) : Problem(message) {}
};

}  // namespace collie::jinja
