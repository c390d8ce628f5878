// The driver of a queue of collectives, as a thread.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "comm/collective_queue.hpp"

namespace collie::test {

class CollectiveThread {
 public:
  CollectiveThread(std::shared_ptr<ProcessGroup> group, int max_in_flight, DeviceOrder order = {})
      : queue_(
            std::move(group), max_in_flight, [this] { wake(); }, std::move(order)),
        thread_([this] { drive(); }) {}

  // Ends after what was submitted, unless the queue was aborted; a group in which others never come must be
  // aborted before.
  ~CollectiveThread() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    woken_.notify_one();
    thread_.join();
  }

  CollectiveQueue& queue() { return queue_; }

 private:
  void wake() {
    {
      const std::lock_guard lock(mutex_);
      awake_ = true;
    }
    woken_.notify_one();
  }

  void drive() {
    while (true) {
      while (queue_.run_next()) {
      }
      std::unique_lock lock(mutex_);
      woken_.wait(lock, [this] { return awake_ || ended_; });
      if (!awake_) return;
      awake_ = false;
    }
  }

  std::mutex mutex_;
  std::condition_variable woken_;
  bool awake_ = false, ended_ = false;
  CollectiveQueue queue_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace collie::test
