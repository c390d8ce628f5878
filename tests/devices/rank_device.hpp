// What a rank has of an emulated device, for tests of groups.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>

#include <cuda_runtime.h>
#include "kernels/cuda/memory/device_memory.hpp"
#include "kernels/cuda/stream_queue.hpp"
#include "kernels/tensor.hpp"
#include "tests/comm/support.hpp"

namespace collie::test {

struct RankDevice {
  explicit RankDevice(int device = 0)
      : stream(std::make_shared<cuda::Stream>(device)),
        queue(cuda::stream_queue(stream)),
        memory(cuda::device_memory(stream)) {}

  Tensor empty(const Shape& shape, DType dtype) const {  // NaN
    return Tensor::on(memory, shape, dtype, account, Category::communication);
  }
  Tensor upload(const Tensor& x) const {
    Tensor copy = empty(x.shape(), x.dtype());
    copy.write(x.raw());
    return copy;
  }

  std::shared_ptr<cuda::Stream> stream;
  std::shared_ptr<DeviceQueue> queue;
  std::shared_ptr<MemorySource> memory;
  std::shared_ptr<MemoryAccount> account = std::make_shared<MemoryAccount>();
};

inline Bytes bytes_on_device(const Tensor& x) {
  Bytes bytes(x.bytes());
  x.read(bytes.data());
  return bytes;
}

// Keeps a queue's device from going on, until it is released or gone.
class Hold {
 public:
  explicit Hold(const DeviceQueue& queue) {
    emulation::enqueue(queue.native(), [state = state_] {
      std::unique_lock lock(state->mutex);
      state->changed.wait(lock, [&] { return state->released; });
    });
  }
  ~Hold() { release(); }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

  void release() {
    {
      const std::lock_guard lock(state_->mutex);
      state_->released = true;
    }
    state_->changed.notify_all();
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    bool released = false;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace collie::test
