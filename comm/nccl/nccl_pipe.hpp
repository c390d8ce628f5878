// One way between two ranks that have a GPU each: tensors travel by NCCL, in the order in which they are
// sent.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "comm/nccl/communicator.hpp"
#include "kernels/device_queue.hpp"

namespace collie {

// One end. It has a communicator of its own, and a queue of the device that nobody else uses: what travels
// the other way, or to others, never stands before it. Calls return when their work is in the queue; the
// host does not wait for the device.
//
// NCCL has no tags: the k-th receive gets the k-th tensor sent, and must name its shape and dtype. What was
// sent occupies the device until the receive is posted, and the other way round.
//
// send() and receive() by one thread at a time, the rest from any. Failures as of nccl::Communicator.
class NcclPipe {
 public:
  enum class End : int { sending = 0, receiving = 1 };  // ranks of the communicator

  // `who`, `others`: of nccl::Communicator.
  NcclPipe(const nccl::Api& api, std::string who, End end, std::shared_ptr<DeviceQueue> queue,
           std::function<void()> others);

  // Blocks until both ends call it, and have met on the device, too, so that later calls wait for nobody.
  void connect(const nccl::UniqueId& id);

  // The sending end. Of this rank's device, contiguous, handed out. Its memory is kept until it is sent.
  void send(Tensor x);
  // The receiving end: a tensor on this rank's device that is still to come, handed out; charged to
  // `account`, Category::communication.
  Tensor receive(const Shape& shape, DType dtype, std::shared_ptr<MemoryAccount> account);
  // Tensors sent, or received, so far: the number of the next one, the same at both ends.
  uint64_t next() const { return next_; }

  // Throws what has made it unusable: after waiting for what was received, whether it has come.
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
