// Why a group or a link is unusable: the first cause, and the exception that its users get.
#pragma once

#include <string>

#include "base/error.hpp"

namespace collie::comm {

struct GroupFailure {
  bool aborted = false;  // true: Aborted(message); false: RunError(message)
  std::string message;

  [[noreturn]] void raise() const {
    if (aborted) throw Aborted(message);
    throw RunError(message);
  }
};

}  // namespace collie::comm
