// Sums over ranks that nobody waits for: gradients are reduced while backward goes on, and completion is one
// more message to the rank.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/tensor.hpp"

namespace collie {

// One object for all ranks of a group in this process; thread-safe. Every rank submits the same sequence of
// tensors (shapes and dtypes, f32 or f64, contiguous, on the host), numbered 0, 1, 2, ... The last rank to
// submit a number sums the tensors in rank order (bitwise what ProcessGroup::all_reduce_sum gives) into every
// rank's tensor, on its own thread, and calls every rank's on_done.
class AsyncReducer {
 public:
  // Called exactly once for every submission that was taken, on whatever thread completed it, in any order
  // between numbers: with null when the tensor holds the sum, with Aborted or RunError when it never will. It
  // must not throw, must not call the reducer, and should be brief: it posts a message.
  using OnDone = std::function<void(std::exception_ptr)>;

  // max_in_flight: numbers that one rank may have submitted without their being done.
  AsyncReducer(int size, int max_in_flight);
  // Aborts what is still in flight.
  ~AsyncReducer();
  AsyncReducer(const AsyncReducer&) = delete;
  AsyncReducer& operator=(const AsyncReducer&) = delete;

  int size() const { return size_; }
  int max_in_flight() const { return static_cast<int>(slots_.size()); }

  // Takes `x` until its on_done; returns at once, unless the rank has max_in_flight numbers in flight: then
  // it waits for the oldest. `sequence` must be the count of this rank's earlier submissions
  // (std::logic_error). RunError that names both where another rank submitted another shape or dtype under
  // this number (everything in flight gets it too); Aborted after abort().
  void submit(int rank, uint64_t sequence, const Tensor& x, OnDone on_done);

  // Numbers that the rank has submitted and that are not done: submit() does not wait while below
  // max_in_flight().
  int in_flight(int rank) const;

  // Everything in flight that not all ranks have submitted is done with Aborted(cause); later submissions
  // throw it, and so do those that wait. A sum that has begun completes. Callable from any thread; the first
  // cause counts.
  void abort(const std::string& cause);

 private:
  struct Slot {
    uint64_t sequence = 0;  // whose submissions it takes
    int arrived = 0;
    std::vector<Tensor> tensors;  // [size]
    std::vector<OnDone> on_done;  // [size]
  };

  Slot& slot_of(uint64_t sequence) { return slots_[sequence % slots_.size()]; }
  void check_agreement(const Slot& slot, int rank, const Tensor& x);
  void reduce(const Slot& slot) const;
  void fail(std::exception_ptr failure, std::unique_lock<std::mutex>& lock);

  const int size_;
  mutable std::mutex mutex_;
  std::condition_variable slot_freed_;
  std::vector<Slot> slots_;     // [max_in_flight]
  std::vector<uint64_t> next_;  // [size] the number that a rank submits next
  std::exception_ptr failure_;
};

}  // namespace collie
