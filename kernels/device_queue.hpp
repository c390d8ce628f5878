// A queue of work on one device (a stream), as the floors above the kernels see it: who puts work into it
// goes on at once, and the work is done in the queue's order, beside that of other queues.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "kernels/tensor.hpp"

struct CUstream_st;

namespace collie {

// A point in a queue's work.
class DeviceEvent {
 public:
  virtual ~DeviceEvent() = default;
};

// May be used by any thread, and by several at a time. Pointers are the device's; who uses memory that comes
// from another queue orders the two by events. Errors of the device: std::runtime_error.
class DeviceQueue {
 public:
  virtual ~DeviceQueue() = default;

  // Behind all that has been put into the queue.
  virtual std::shared_ptr<const DeviceEvent> record() = 0;
  // What is put into the queue from now on begins after the event, which may be another queue's.
  virtual void wait(const DeviceEvent& event) = 0;

  // As Operations releases and acquires tensors (operations.hpp), for a queue that works on them between two
  // tables of its device: from now on a tensor that is acquired is used, and its memory goes back, in the
  // queue's order. Its account stays.
  virtual void release(Tensor& x) = 0;
  virtual void acquire(Tensor& x) = 0;

  virtual void copy(const std::byte* from, std::byte* to, size_t bytes) = 0;
  // out[k][i] = ((in[0][i] + in[1][i]) + in[2][i]) + ..., for every k and 0 <= i < count: f32 and f64 in
  // their own precision, bf16 in float and rounded once; the bits of comm/rank_order_sum.hpp. `out` may hold
  // pointers of `in`. At most most_summands of each.
  virtual void sum_in_rank_order(DType dtype, std::span<const std::byte* const> in,
                                 std::span<std::byte* const> out, int64_t count) = 0;
  static constexpr size_t most_summands = 64;

  // Memory of the device, handed out and taken back in the queue's order.
  virtual const std::shared_ptr<MemorySource>& memory() = 0;

  virtual void synchronize() = 0;  // blocks the host until everything is done
  virtual int device() const = 0;
  // For libraries that put work into it themselves, at once: makes the device the calling thread's current
  // one, too.
  virtual CUstream_st* native() const = 0;
};

}  // namespace collie
