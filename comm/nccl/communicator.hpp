// One rank's NCCL communicator. Its calls do not block, its errors are polled, and another thread can abort
// it.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "comm/nccl/api.hpp"

namespace collie::nccl {

// Errors are RunErrors that name the communicator's end and NCCL's reason. They make it unusable, as abort()
// does. What NCCL has put on the device then comes to an end, without its result.
class Communicator {
 public:
  // `who` names the end in messages: "data group: rank 0 of 2". `others` throws when the other ranks are
  // known to be gone or to have given up, which ends the communicator as abort() does. From connect() on it
  // is asked now and then, as NCCL is.
  Communicator(const Api& api, std::string who, int rank, int size, std::function<void()> others);
  // Waits a little for work on its way, and no longer.
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  // Blocks until all ranks have come with the same id. The device must be the thread's current one.
  void connect(const UniqueId& id);

  // Calls `calls` with the communicator, and returns when NCCL has put the requested work into its streams.
  // One thread at a time may call it.
  void run(const std::function<Result(ncclComm*)>& calls);

  // Throws if the communicator has become unusable. After a wait for a stream, this tells whether the work in
  // it was done.
  void check() const;
  // Any thread may call it.
  void abort(const std::string& cause);

 private:
  using Lock = std::unique_lock<std::mutex>;

  // The caller must hold the mutex for all of these.
  void throw_if_failed() const;
  void wait(Result result, Lock& lock);
  void fail(std::exception_ptr failure);
  void fail(Result result);
  void watch();
  void look();

  const Api& api_;
  const std::string who_;
  const int rank_, size_;
  const std::function<void()> others_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  ncclComm* comm_ = nullptr;
  std::exception_ptr failure_;
  bool ending_ = false;
  std::thread watch_;
};

}  // namespace collie::nccl
