// The rendezvous of the ranks of an in-process group. It knows who has arrived with which call, who does
// which part of the work, and why the group has failed, if it has.
//
// For calls on a device that all ranks share, the last rank to arrive puts all ranks' work into its own
// queue, behind what each rank has queued before. Each rank's queue goes on behind that work.
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

  // Rank `rank` takes part with `call`. Returns when its result is complete or, if the rank has a `queue` of
  // a device, when the work is in the queue.
  void collective(int rank, const Call& call, DeviceQueue* queue);
  void transfer(int rank, const Call& call, DeviceQueue* queue);

  void abort(const std::string& cause);
  void check();  // throws the reason if the group has failed

 private:
  enum class State {
    away,       // computing, or not awake yet
    gathering,  // in a collective that not all ranks have joined
    offering,   // in a send or receive whose other end has not come
    copying     // the other end has come and is copying: this end must not leave
  };
  struct End {
    std::condition_variable woken;
    State state = State::away;
    Call call;
    // For calls on a device: the events behind what the rank had queued, and behind the call's work.
    std::shared_ptr<const DeviceEvent> before, after;
  };
  using Lock = std::unique_lock<std::mutex>;

  // The caller must hold the mutex for all of these.
  void throw_if_failed() const;
  [[noreturn]] void refuse(int rank, const Call& call, int other);
  void fail(GroupFailure failure);
  void wake_all();
  void join(int rank, const Call& call, DeviceQueue* queue, Lock& lock);
  bool work_under_lock(const Call& call) const;
  void work_of_all(DeviceQueue* queue);
  void offer(int rank, const Call& call, DeviceQueue* queue, Lock& lock);
  void accept(int rank, DeviceQueue* queue, End& other, Lock& lock);
  std::shared_ptr<const DeviceEvent> put(DeviceQueue& queue, const std::function<void()>& work);
  void go_on_behind(const End& end, DeviceQueue* queue) const;

  // Does this rank's share of a collective that all have joined, on the host or by queueing it.
  void work(int rank, DeviceQueue* queue);
  void sum_share(int rank, const Call& call, DeviceQueue* queue);

  std::mutex mutex_;
  std::vector<End> ends_;  // only ranks at work on a call read it without the lock
  int arrived_ = 0;        // ranks in the collective that is gathering
  int working_ = 0;        // ranks still at work on the collective that has gathered
  uint64_t gathered_ = 0;  // collectives that all have joined
  std::optional<GroupFailure> failure_;
};

}  // namespace collie::comm
