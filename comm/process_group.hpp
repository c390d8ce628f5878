// The collectives of one group of ranks, whatever carries them. Sums are taken in rank order, so that results
// repeat bitwise. abort(cause) can cancel every wait from outside: the waiting calls throw Aborted.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/device_queue.hpp"
#include "kernels/tensor.hpp"

namespace collie {

// One rank's end of a group. Every rank must issue the same operations in the same order. A mismatch of
// operation, shape, dtype or root is a RunError on every rank, which names both calls, and the group is
// unusable from then on. The same happens if one rank calls a collective while another waits to send to it or
// receive from it, or if two ranks both send to each other or both receive: they would wait for each other.
//
// Calls block: they return when this rank's result is complete. One thread at a time may call. Tensors are
// contiguous. Sums take floating-point numbers (bf16 is summed in f32 and rounded once), the rest takes any
// dtype. Size zero is fine. Tensors are on the host unless a group says otherwise. One rank's wrong arguments
// (std::logic_error) are found before that rank takes part. Two calls work in place: reduce_scatter_sum's
// `out` may be part `rank` of `in`, and all_gather's `in` may be part `rank` of `out`. No other overlap is
// allowed.
//
// On a device, a group's end belongs to a queue of work (kernels/device_queue.hpp), in whose order it reads
// and writes tensors. A call returns when its work is in the queue. The host may wait for the other ranks to
// call, never for the device.
class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  virtual void all_reduce_sum(Tensor& x) = 0;  // in place
  virtual void reduce_scatter_sum(const Tensor& in,
                                  Tensor& out) = 0;  // in [size · n, ...], out [n, ...]: part `rank`
  virtual void all_gather(const Tensor& in, Tensor& out) = 0;  // in [n, ...], out [size · n, ...]
  virtual void broadcast(Tensor& x, int root) = 0;
  virtual void all_to_all(const Tensor& in,
                          Tensor& out) = 0;                 // in, out [size · n, ...]: part j goes to rank j
  virtual void send(const Tensor& x, int destination) = 0;  // rendezvous: returns when x is received
  virtual void receive(Tensor& x, int source) = 0;
  virtual void barrier() = 0;

  // Throws what has made the group unusable, if anything has. On a device, work may still fail after its call
  // has returned, so a caller that reads a result on the host should check after it has waited for the
  // result. Any thread may call it.
  virtual void check() = 0;

  // Wakes every wait of every rank of the group with Aborted(cause), now and later; the first cause counts.
  // An operation at which all ranks have arrived still completes. Any thread may call it.
  virtual void abort(const std::string& cause) = 0;
};

// Makes `size` ends that share this process's memory; end i belongs to the thread of rank i. Waits block on a
// condition variable, so that there may be many more ranks than cores. Groups are independent of each other:
// the same threads may belong to several (rows and columns of a grid).
std::vector<std::shared_ptr<ProcessGroup>> make_in_process_group(int size);

// An end finds its queue of work on a device here. The rank fills it in before it communicates, when it has
// its device; it is null if the rank has none.
struct DeviceSlot {
  std::shared_ptr<DeviceQueue> queue;
};

// Makes in-process ends, one per slot, for ranks that share one device, too: tensors on the device stay
// there. The tensors of a call are either on the device on all ranks or on the host on all ranks. On a device
// there may be at most DeviceQueue::most_summands ranks.
std::vector<std::shared_ptr<ProcessGroup>> make_device_group(
    const std::vector<std::shared_ptr<DeviceSlot>>& slots);

}  // namespace collie
