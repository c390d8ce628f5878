// Works on a queue of collectives as a rank's reducer does, on a thread of its own.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "comm/collective_queue.hpp"

namespace collie::test {

class QueueDriver {
 public:
  explicit QueueDriver(std::shared_ptr<CollectiveQueue> queue)
      : thread_([this, queue = std::move(queue)] { drive(*queue); }) {}
  ~QueueDriver() {
    end_ = true;
    thread_.join();
  }

 private:
  void drive(CollectiveQueue& queue) {
    while (!end_)
      if (!queue.run_next()) std::this_thread::sleep_for(std::chrono::microseconds(200));
  }

  std::atomic<bool> end_ = false;
  std::thread thread_;
};

}  // namespace collie::test
