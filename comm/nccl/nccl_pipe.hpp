// One direction between two ranks that have a GPU each. Tensors travel by NCCL, in the order in which they
// are sent.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "comm/nccl/communicator.hpp"
#include "kernels/device_queue.hpp"

namespace collie {

// One end of a pipe. It has its own communicator and its own queue of the device, which nobody else uses:
// what travels the other way, or to other ranks, never blocks it. Calls return when their work is in the
// queue; the host does not wait for the device.
//
// NCCL has no tags: the k-th receive gets the k-th tensor sent, and must name its shape and dtype. What was
// sent occupies the device until the receive is posted, and the other way round.
//
// One thread at a time may call send() and receive(); any thread may call the rest. Failures are those of
// nccl::Communicator.
class NcclPipe {
 public:
  enum class End : int { sending = 0, receiving = 1 };  // ranks of the communicator

  // `who` and `others` are those of nccl::Communicator.
  NcclPipe(const nccl::Api& api, std::string who, End end, std::shared_ptr<DeviceQueue> queue,
           std::function<void()> others);

  // Blocks until both ends call it and have also met on the device, so that later calls wait for nobody.
  void connect(const nccl::UniqueId& id);

  // For the sending end. x is on this rank's device, contiguous and released. Its memory is kept until it is
  // sent.
  void send(Tensor x);
  // For the receiving end. Returns a released tensor on this rank's device, which is still to come, charged
  // to `account`, Category::communication.
  Tensor receive(const Shape& shape, DType dtype, std::shared_ptr<MemoryAccount> account);
  // The number of tensors sent, or received, so far, which is the number of the next one. It is the same at
  // both ends.
  uint64_t next() const { return next_; }

  // Throws what has made the pipe unusable. After a wait for a received tensor, this tells whether it has
  // come.
  void check() const { communicator_.check(); }
  void abort(const std::string& cause) { communicator_.abort(cause); }

 private:
  void post(const Tensor& x);

  const nccl::Api& api_;
  const End end_;
  const std::shared_ptr<DeviceQueue> queue_;
  uint64_t next_ = 0;
  nccl::Communicator communicator_;
};

}  // namespace collie
