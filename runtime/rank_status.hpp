// The present activity of a rank, for the watchdog. A blocked rank reads no messages, so the watchdog looks
// at it from outside.
#pragma once

#include <mutex>
#include <string>

#include "base/clock.hpp"
#include "runtime/messages.hpp"

namespace collie {

class RankStatus {
 public:
  enum class Phase : uint8_t { idle, computing, waiting };

  // It is set for every task, so it is kept as numbers and put into words only on request.
  struct Activity {
    Phase phase = Phase::idle;
    Task task;        // the task that is being computed, or whose input is missing
    Channel channel;  // if the task is a send or a receive: its channel
    int peer = -1;    // the rank at the channel's other end
    int credits = 0;  // the channel's credits
    bool operator==(const Activity&) const = default;
  };
  struct Snapshot {
    Phase phase = Phase::idle;
    std::string what;    // "1F5", "waits for activation ... of micro-batch 5 from rank 0"
    double since_s = 0;  // steady_seconds() of the last change
  };

  void set(const Activity& activity, double now_s) {
    const std::lock_guard lock(mutex_);
    if (activity_ == activity) return;
    activity_ = activity;
    since_s_ = now_s;
  }

  Snapshot get() const;

 private:
  mutable std::mutex mutex_;
  Activity activity_;
  double since_s_ = steady_seconds();
};

}  // namespace collie
