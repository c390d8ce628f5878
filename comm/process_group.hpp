// Collectives of one group of ranks, whatever carries them. Sums are taken in rank order, so that results
// repeat bitwise. Every wait can be cancelled from outside by abort(cause): the waiting calls throw Aborted.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/device_queue.hpp"
#include "kernels/tensor.hpp"

namespace collie {

// One rank's end of a group. Every rank must issue the same operations in the same order; a mismatch of
// operation, shape, dtype or root is a RunError on every rank that names both, and the group is unusable from
// then on. So is a collective, or a send or receive in the same direction, at which both ends would wait for
// each other. Blocking: returns when this rank's result is complete; may be called by one thread at a time.
// Tensors are contiguous, of floating-point numbers for sums (bf16 is summed in f32 and rounded once), any
// dtype for the rest; size zero is fine. On the host, but where a group says otherwise. Wrong arguments of
// one rank (std::logic_error) are found before that rank takes part. In place: reduce_scatter_sum's `out` may
// be part `rank` of `in`, all_gather's `in` part `rank` of `out`. No other overlap.
//
// On a device, a group's end belongs to a queue of work (kernels/device_queue.hpp), in whose order it reads
// and writes tensors: a call returns when its work is in the queue. The host may wait for the other ranks to
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
  virtual void send(const Tensor& x, int destination) = 0;  // rendezvous: returns when it is received
  virtual void receive(Tensor& x, int source) = 0;
  virtual void barrier() = 0;

  // Throws what has made the group unusable, if anything has. On a device work may still fail when its call
  // has returned: to be asked by who reads a result on the host, after having waited for it. From any thread.
  virtual void check() = 0;

  // Wakes every wait of every rank of the group with Aborted(cause), now and later; the first cause counts.
  // An operation at which all ranks have arrived still completes. Callable from any thread.
  virtual void abort(const std::string& cause) = 0;
};

// `size` ends that share this process's memory; end i belongs to the thread of rank i. Waits block on a
// condition variable, so that there may be many more ranks than cores. Groups are independent of each other:
// the same threads may belong to several (rows and columns of a grid).
std::vector<std::shared_ptr<ProcessGroup>> make_in_process_group(int size);

// Where an end finds its queue of work on a device. The rank fills it in before it communicates, when it has
// its device; null where it has none.
struct DeviceSlot {
  std::shared_ptr<DeviceQueue> queue;
};

// Such ends, one a slot, for ranks that share one device, too: tensors that are on it stay there. A call has
// either kind of tensor on all ranks. On a device at most DeviceQueue::most_summands ranks.
std::vector<std::shared_ptr<ProcessGroup>> make_device_group(
    const std::vector<std::shared_ptr<DeviceSlot>>& slots);

}  // namespace collie
