// One rank's NCCL communicator: calls that do not block, errors that are looked for, an end from outside.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "comm/nccl/api.hpp"

namespace collie::nccl {

// Errors are RunErrors that name whose it is and NCCL's reason, and make it unusable, as abort() does; what
// NCCL has put on the device then comes to an end, without its result.
class Communicator {
 public:
  // `who`: whose end it is, as messages say: "data group: rank 0 of 2". `others`: throws when the other ranks
  // are known to be gone or to have given up, which ends the communicator as abort() does; it is asked now
  // and then, as NCCL is, from the call of connect() on.
  Communicator(const Api& api, std::string who, int rank, int size, std::function<void()> others);
  // Waits a little for what is on its way, and no longer.
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  // Blocks until all ranks have come with the same id. The device must be the thread's current one.
  void connect(const UniqueId& id);

  // Calls `calls` with the communicator, and returns when NCCL has put what they ask for into their streams.
  // By one thread at a time.
  void run(const std::function<Result(ncclComm*)>& calls);

  // Throws if it has become unusable: after waiting for a stream, whether the work in it was done.
  void check() const;
  // Callable from any thread.
  void abort(const std::string& cause);

 private:
  using Lock = std::unique_lock<std::mutex>;

  // All with the mutex held.
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
