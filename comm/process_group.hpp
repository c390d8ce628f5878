// Collectives of one group of ranks, whatever carries them. Sums are taken in rank order, so that results repeat
// bitwise. Every wait can be cancelled from outside by abort(cause): the waiting calls throw Aborted.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/tensor.hpp"

namespace collie {

// One rank's end of a group. Every rank must issue the same operations in the same order; a mismatch of operation,
// shape or dtype is a RunError on every rank that names both. Blocking: returns when this rank's result is complete.
// Tensors are contiguous, f32 or f64 unless said otherwise (broadcast, gathers and send take any dtype).
class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  virtual void all_reduce_sum(Tensor& x) = 0;                            // in place
  virtual void reduce_scatter_sum(const Tensor& in, Tensor& out) = 0;   // in [size · n, ...], out [n, ...]: part `rank`
  virtual void all_gather(const Tensor& in, Tensor& out) = 0;           // in [n, ...], out [size · n, ...]
  virtual void broadcast(Tensor& x, int root) = 0;
  virtual void all_to_all(const Tensor& in, Tensor& out) = 0;           // in, out [size · n, ...]: part j goes to rank j
  virtual void send(const Tensor& x, int destination) = 0;              // rendezvous: returns when it is received
  virtual void receive(Tensor& x, int source) = 0;
  virtual void barrier() = 0;

  // Wakes every wait of every rank of the group with Aborted(cause), now and later. Callable from any thread.
  virtual void abort(const std::string& cause) = 0;
};

// `size` ends that share this process's memory; end i belongs to the thread of rank i.
std::vector<std::shared_ptr<ProcessGroup>> make_in_process_group(int size);

}  // namespace collie
