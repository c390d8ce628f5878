// One rank's operations on one group. They run in the background in the order of submission: the rank goes on
// computing, and waits only when it needs a result.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/process_group.hpp"

namespace collie {

// A rank's queues of work on its device. Both are null on the host.
struct DeviceOrder {
  std::shared_ptr<DeviceQueue> compute;  // the rank uses its tensors in this queue's order
  // The queue of the group's end; null if tensors go through host memory.
  std::shared_ptr<DeviceQueue> communication;
};

// One operation's time on the driver, for the trace, in seconds on the process's steady clock. For an
// operation on a device it is the time until its work was queued, which includes waiting for other ranks to
// call. It is not the time that the device took.
struct OperationSpan {
  std::string label;
  double start_s = 0, end_s = 0;
  int64_t bytes = 0;  // as the submitter gave it
};

// Three parties use a queue, each on any thread: submitters, waiters, and one driver, which calls run_next().
// Submitters come one at a time: the order of submissions is the order of the group's operations and must be
// the same on every rank. The driver must be neither a submitter nor a waiter, since it would wait for
// itself.
//
// The first failure makes the group unusable. Every operation that is not done, and every later one, fails
// with the same exception.
//
// On a device nobody waits for the device. An operation's work begins after what the rank had queued when it
// submitted the operation, and what the rank queues after wait() begins after the operation's work. wait()
// frees what the operation owns, so that the rank's queue may use the memory again. Without wait(), the last
// handle frees it.
class CollectiveQueue {
  struct State;
  struct Task;

 public:
  // The driver calls it at most once. It must own what it uses (capture Tensors by value) and keep it, since
  // after an abort it may still be running when its waiters have gone on. It is destroyed before its handle
  // says that it is done; on a device wait() destroys it.
  using Operation = std::function<void(ProcessGroup&)>;

  // The handle of one submitted operation; copies refer to the same operation. It may outlive the queue. A
  // handle made without a queue is done.
  class Pending {
   public:
    Pending() = default;

    // Blocks until the operation is done (on a device: until it is queued and the rank's later work is
    // ordered behind it). Throws what the operation threw, or an earlier operation's failure, or Aborted. It
    // throws again on every call.
    void wait() const;

    // Says whether wait() would return or throw at once. On a device this orders nothing.
    bool done() const;

   private:
    friend class CollectiveQueue;
    Pending(std::shared_ptr<State> state, std::shared_ptr<Task> task);

    std::shared_ptr<State> state_;
    std::shared_ptr<Task> task_;
  };

  // max_in_flight is the largest number of operations that are submitted and not done, at least one. The
  // submitter calls `on_submit` after each operation it has queued, with no lock held, to tell the driver to
  // call run_next().
  CollectiveQueue(std::shared_ptr<ProcessGroup> group, int max_in_flight,
                  std::function<void()> on_submit = nullptr, DeviceOrder order = {});
  // A queue without a driver, for planning. An operation runs when advance() says that it is over. It also
  // runs on a thread that waits for it or for a later operation, or that finds the queue full.
  struct Undriven {};
  CollectiveQueue(std::shared_ptr<ProcessGroup> group, int max_in_flight, Undriven);
  // Aborts. The driver must have left run_next().
  ~CollectiveQueue();
  CollectiveQueue(const CollectiveQueue&) = delete;
  CollectiveQueue& operator=(const CollectiveQueue&) = delete;

  // Queues the operation and returns at once. If max_in_flight operations are in flight, it first waits until
  // one is done. It does not throw if the queue has failed: the handle's wait() does. `bytes` goes into the
  // span.
  Pending submit(std::string label, Operation operation, int64_t bytes = 0);

  // Runs the oldest operation on the calling thread; returns false if there was none. The operation's
  // exception goes to the waiters, not to the driver.
  bool run_next();

  // For queues without a driver only: says that `bytes` more bytes of the oldest operations have been
  // communicated.
  void advance(int64_t bytes);

  // Wakes every waiter and every blocked submitter with Aborted(cause), now and later; the first failure
  // counts. Any thread may call it. It does not touch the group: a running operation goes on until the owner
  // also aborts the group.
  void abort(const std::string& cause);

  // This rank's number in the group.
  int rank() const;
  int size() const;

  // The number of operations that are submitted and not done.
  int in_flight() const;

  // The time this rank has lost to communication: the seconds during which wait() and submit() blocked,
  // summed over all threads.
  double blocked_seconds() const;

  // Returns the operations that were run since the last call, oldest first, failed ones included. Between two
  // calls the first 65,536 are kept.
  std::vector<OperationSpan> take_spans();

 private:
  std::shared_ptr<State> state_;
};

}  // namespace collie
