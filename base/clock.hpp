// The one clock of traces, watchdogs and measurements.
#pragma once

#include <chrono>

namespace collie {

// Seconds on the process's steady clock.
inline double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace collie
