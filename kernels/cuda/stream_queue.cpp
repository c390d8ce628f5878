#include "kernels/cuda/stream_queue.hpp"

#include <algorithm>
#include <mutex>

#include "kernels/cuda/api.hpp"
#include "kernels/cuda/memory/device_memory.hpp"
#include "kernels/cuda/memory/ready_event.hpp"
#include "kernels/cuda/ops/rank_order_sum.hpp"

namespace collie::cuda {

namespace {

class StreamEvent final : public DeviceEvent {
 public:
  Event event;
};

static_assert(DeviceQueue::most_summands == SummedArrays::most);

Summand summand_of(DType dtype) {
  COLLIE_ASSERT(dtype != DType::i32, "sums are of floating-point numbers, not {}", name(dtype));
  return dtype == DType::f64 ? Summand::f64 : dtype == DType::bf16 ? Summand::bf16 : Summand::f32;
}

SummedArrays arrays_of(std::span<const std::byte* const> in, std::span<std::byte* const> out) {
  COLLIE_ASSERT(!in.empty() && std::max(in.size(), out.size()) <= SummedArrays::most,
                "a sum of {} arrays into {}, of {} at most", in.size(), out.size(), SummedArrays::most);
  SummedArrays arrays{};
  arrays.ins = static_cast<int>(in.size());
  arrays.outs = static_cast<int>(out.size());
  std::copy(in.begin(), in.end(), arrays.in);
  std::copy(out.begin(), out.end(), arrays.out);
  return arrays;
}

class StreamQueue final : public DeviceQueue {
 public:
  explicit StreamQueue(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}

  std::shared_ptr<const DeviceEvent> record() override {
    choose_device();
    auto event = std::make_shared<StreamEvent>();
    stream_->record(event->event);
    return event;
  }
  void wait(const DeviceEvent& event) override {
    choose_device();
    stream_->wait(dynamic_cast<const StreamEvent&>(event).event);
  }
  void release(Tensor& x) override {
    choose_device();
    cuda::release(x, *stream_);
  }
  void acquire(Tensor& x) override {
    choose_device();
    const int from = cuda::acquire(x, *stream_);
    COLLIE_ASSERT(from == device(), "a queue of device {} takes over a tensor of device {}", device(), from);
    x.set_source(memory());
  }
  void copy(const std::byte* from, std::byte* to, size_t bytes) override {
    if (bytes == 0 || from == to) return;
    choose_device();
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_->native()),
          "copying on the device");
  }
  void sum_in_rank_order(DType dtype, std::span<const std::byte* const> in, std::span<std::byte* const> out,
                         int64_t count) override {
    choose_device();
    rank_order_sum(stream_->native(), summand_of(dtype), arrays_of(in, out), count);
  }
  void synchronize() override { stream_->synchronize(); }
  int device() const override { return stream_->device(); }
  CUstream_st* native() const override {
    choose_device();
    return stream_->immediate();
  }
  const std::shared_ptr<MemorySource>& memory() override {
    const std::lock_guard lock(mutex_);
    if (!memory_) memory_ = device_memory(stream_);
    return memory_;
  }

 private:
  // Any thread may call, and each thread has its own current device.
  void choose_device() const { check(cudaSetDevice(stream_->device()), "choosing a device"); }

  std::shared_ptr<Stream> stream_;
  std::mutex mutex_;
  std::shared_ptr<MemorySource> memory_;  // made at its first use
};

}  // namespace

std::shared_ptr<DeviceQueue> stream_queue(std::shared_ptr<Stream> stream) {
  return std::make_shared<StreamQueue>(std::move(stream));
}

}  // namespace collie::cuda
