// One rank's operations on one group, run in the background in the order in which they were submitted: the
// rank goes on computing, and waits only where it needs a result.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/process_group.hpp"

namespace collie {

// A rank's queues of work on its device. Both null on the host.
struct DeviceOrder {
  std::shared_ptr<DeviceQueue> compute;        // in whose order the rank uses its tensors
  std::shared_ptr<DeviceQueue> communication;  // the group's end's; null where tensors go through host memory
};

// One operation's time on the driver, for the trace: seconds on the process's steady clock. Of an operation
// on a device it is the time until its work was queued, waiting for other ranks to call included, and not the
// time that the device took.
struct OperationSpan {
  std::string label;
  double start_s = 0, end_s = 0;
  int64_t bytes = 0;  // as its submitter said
};

// Three parties, each on any thread: submitters (one at a time, as the order of submissions is the order of
// the group's operations and must be the same on every rank), waiters, and one driver, which calls
// run_next(). The driver must be neither a submitter nor a waiter: it would wait for itself.
//
// The first failure is every later operation's too, as the group is then unusable: what was submitted and is
// not done, and whatever is submitted afterwards, fails with the same exception.
//
// On a device nobody waits for the device: an operation's work begins after what the rank had queued at its
// submission, and what the rank queues after wait() begins after the operation's work. What the operation
// owns is let go at wait(), so that the rank's queue may use the memory again; without wait(), with the last
// handle.
class CollectiveQueue {
  struct State;
  struct Task;

 public:
  // Called by the driver, once at most. It must own what it uses (capture Tensors by value) and keep it:
  // after an abort it may still be running when its waiters have gone on. It is destroyed before its handle
  // says that it is done, on a device by wait().
  using Operation = std::function<void(ProcessGroup&)>;

  // The handle of one submitted operation; copies are of the same one. May outlive the queue. A handle made
  // without a queue is done.
  class Pending {
   public:
    Pending() = default;

    // Blocks until the operation is done (on a device: queued, and the rank's later work ordered behind it).
    // Throws what it threw, or an earlier operation's failure, or Aborted; as often as it is called.
    void wait() const;

    // Whether wait() would return or throw at once. On a device that orders nothing.
    bool done() const;

   private:
    friend class CollectiveQueue;
    Pending(std::shared_ptr<State> state, std::shared_ptr<Task> task);

    std::shared_ptr<State> state_;
    std::shared_ptr<Task> task_;
  };

  // max_in_flight: operations that are submitted and not done, at least one. `on_submit` is called by the
  // submitter after each operation it has queued, with no lock held: it tells the driver to call run_next().
  CollectiveQueue(std::shared_ptr<ProcessGroup> group, int max_in_flight,
                  std::function<void()> on_submit = nullptr, DeviceOrder order = {});
  // Without a driver, for planning: an operation runs when advance() says that it is over, or on the thread
  // that waits for it, or for a later one, or that finds the queue full.
  struct Deferred {};
  CollectiveQueue(std::shared_ptr<ProcessGroup> group, int max_in_flight, Deferred);
  // Aborts. The driver must have left run_next().
  ~CollectiveQueue();
  CollectiveQueue(const CollectiveQueue&) = delete;
  CollectiveQueue& operator=(const CollectiveQueue&) = delete;

  // Queues the operation and returns at once, unless max_in_flight are in flight: then it waits until one is
  // done. Does not throw for a failed queue: the handle's wait() does. `bytes` goes into the span.
  Pending submit(std::string label, Operation operation, int64_t bytes = 0);

  // Runs the oldest operation on the calling thread; false where there was none. Its exception goes to the
  // waiters, not to the driver.
  bool run_next();

  // Deferred only: so many more bytes of the oldest operations have been communicated.
  void advance(int64_t bytes);

  // Wakes every waiter and every blocked submitter with Aborted(cause), now and later; the first failure
  // counts. Callable from any thread. The group is left alone: an operation that is running goes on until the
  // owner aborts the group as well.
  void abort(const std::string& cause);

  // This rank's, in the group.
  int rank() const;
  int size() const;

  // Operations that are submitted and not done.
  int in_flight() const;

  // What this rank has lost to communication: seconds during which wait() and submit() blocked, of all
  // threads together.
  double blocked_seconds() const;

  // The operations that were run (failed ones too) since the last call, oldest first. Between two calls the
  // first 65,536 are kept.
  std::vector<OperationSpan> take_spans();

 private:
  std::shared_ptr<State> state_;
};

}  // namespace collie
