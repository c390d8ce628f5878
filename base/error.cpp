#include "base/error.hpp"

namespace collie::detail {

void assertion_failed(const char* expression, const char* file, int line, const std::string& message) {
  throw std::logic_error(fmt::format("{}:{}: assertion '{}' failed: {}", file, line, expression, message));
}

}  // namespace collie::detail
