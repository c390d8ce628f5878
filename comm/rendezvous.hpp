// Where the ranks of an in-process group meet: who has arrived with which call, who does which part of the
// work, and why the group has failed, if it has.
//
// Of calls on a device, which all ranks share, the last rank to arrive puts everybody's work into its own
// queue, behind what each has queued before; each rank's queue goes on behind that.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "comm/call.hpp"
#include "comm/failure.hpp"
#include "kernels/device_queue.hpp"

namespace collie::comm {

class Rendezvous {
 public:
  explicit Rendezvous(int size);
  int size() const { return static_cast<int>(ends_.size()); }

  // Rank `rank` takes part with `call`; returns when its result is complete, or, with the rank's `queue` of a
  // device, when it is in the queue.
  void collective(int rank, const Call& call, DeviceQueue* queue);
  void transfer(int rank, const Call& call, DeviceQueue* queue);

  void abort(const std::string& cause);
  void check();  // throws why the group has failed, if it has

 private:
  enum class State {
    away,       // computing, or not awake yet
    gathering,  // in a collective that not all have joined
    offering,   // in a send or receive whose other end has not come
    copying     // the other end has come and is copying: this end must not leave
  };
  struct End {
    std::condition_variable woken;
    State state = State::away;
    Call call;
    // Of calls on a device: behind what the rank had queued, and behind the call's work.
    std::shared_ptr<const DeviceEvent> before, after;
  };
  using Lock = std::unique_lock<std::mutex>;

  // All with the mutex held.
  void throw_if_failed() const;
  [[noreturn]] void refuse(int rank, const Call& call, int other);
  void fail(Failure failure);
  void wake_all();
  void join(int rank, const Call& call, DeviceQueue* queue, Lock& lock);
  bool work_under_lock(const Call& call) const;
  void work_of_all(DeviceQueue* queue);
  void offer(int rank, const Call& call, DeviceQueue* queue, Lock& lock);
  void accept(int rank, DeviceQueue* queue, End& other, Lock& lock);
  std::shared_ptr<const DeviceEvent> put(DeviceQueue& queue, const std::function<void()>& work);
  void go_on_behind(const End& end, DeviceQueue* queue) const;

  // Rank's share of the collective that all have joined, on the host or put into the queue.
  void work(int rank, DeviceQueue* queue);
  void sum_share(int rank, const Call& call, DeviceQueue* queue);

  std::mutex mutex_;
  std::vector<End> ends_;  // a call is read without the lock only by those at work on it
  int arrived_ = 0;        // in the collective that is gathering
  int working_ = 0;        // ranks still at work on the one that has gathered
  uint64_t gathered_ = 0;  // collectives that all have joined
  std::optional<Failure> failure_;
};

}  // namespace collie::comm
