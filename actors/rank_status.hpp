// What a rank is doing, for the watchdog: a rank that is blocked reads no messages, so it is looked at from outside.
#pragma once

#include <chrono>
#include <mutex>
#include <string>

namespace collie {

// Seconds on the process's steady clock, the one clock of traces and watchdogs.
inline double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class RankStatus {
 public:
  enum class Phase { idle, computing, waiting };
  struct Snapshot {
    Phase phase = Phase::idle;
    std::string what;    // "F of micro-batch 5", "waits for ..."
    double since_s = 0;  // steady_seconds() of the last change
  };

  void set(Phase phase, std::string what) {
    const std::lock_guard lock(mutex_);
    if (snapshot_.phase == phase && snapshot_.what == what) return;
    snapshot_ = {phase, std::move(what), steady_seconds()};
  }

  Snapshot get() const {
    const std::lock_guard lock(mutex_);
    return snapshot_;
  }

 private:
  mutable std::mutex mutex_;
  Snapshot snapshot_{Phase::idle, "idle", steady_seconds()};
};

}  // namespace collie
