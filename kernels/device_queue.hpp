// A queue of work on one device (a stream), as the layers above the kernels see it. A caller that queues work
// goes on at once. The work is done in the queue's order, concurrently with other queues.
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

// Any thread may use a queue, and several threads may at the same time. Pointers are the device's. A caller
// that uses memory from another queue must order the two queues by events. Errors of the device are
// std::runtime_error.
class DeviceQueue {
 public:
  virtual ~DeviceQueue() = default;

  // Records an event behind all work that is in the queue.
  virtual std::shared_ptr<const DeviceEvent> record() = 0;
  // Work that is queued from now on begins after the event, which may be another queue's.
  virtual void wait(const DeviceEvent& event) = 0;

  // These two release and acquire tensors as Operations does (operations.hpp), for a queue that works on them
  // between two tables of its device. From its acquisition on, a tensor is used in the queue's order, and its
  // memory goes back in the queue's order. Its account stays the same.
  virtual void release(Tensor& x) = 0;
  virtual void acquire(Tensor& x) = 0;

  virtual void copy(const std::byte* from, std::byte* to, size_t bytes) = 0;
  // out[k][i] = ((in[0][i] + in[1][i]) + in[2][i]) + ..., for every k and 0 <= i < count. f32 and f64 are
  // summed in their own precision, bf16 in float and rounded once. The bits are those of
  // comm/rank_order_sum.hpp. `out` may hold pointers of `in`. Each list has at most most_summands pointers.
  virtual void sum_in_rank_order(DType dtype, std::span<const std::byte* const> in,
                                 std::span<std::byte* const> out, int64_t count) = 0;
  static constexpr size_t most_summands = 64;

  // Memory of the device, allocated and freed in the queue's order.
  virtual const std::shared_ptr<MemorySource>& memory() = 0;

  virtual void synchronize() = 0;  // blocks the host until everything is done
  virtual int device() const = 0;
  // For libraries that queue work themselves, at once. It also makes the device the calling thread's current
  // one.
  virtual CUstream_st* native() const = 0;
};

}  // namespace collie
