// Why a group or a link is unusable: the first cause, and which exception it is to those who use it.
#pragma once

#include <string>

#include "base/error.hpp"

namespace collie::comm {

struct Failure {
  bool aborted = false;  // Aborted(message), else RunError(message)
  std::string message;

  [[noreturn]] void raise() const {
    if (aborted) throw Aborted(message);
    throw RunError(message);
  }
};

}  // namespace collie::comm
