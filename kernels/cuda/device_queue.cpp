#include "kernels/cuda/device_queue.hpp"

#include <algorithm>
#include <mutex>

#include "kernels/cuda/api.hpp"
#include "kernels/cuda/device_memory.hpp"
#include "kernels/cuda/handed_out.hpp"
#include "kernels/cuda/rank_order_sum.hpp"

namespace collie::cuda {

namespace {

class StreamMark final : public DeviceMark {
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

  std::shared_ptr<const DeviceMark> mark() override {
    choose_device();
    auto mark = std::make_shared<StreamMark>();
    stream_->record(mark->event);
    return mark;
  }
  void wait(const DeviceMark& mark) override {
    choose_device();
    stream_->wait(dynamic_cast<const StreamMark&>(mark).event);
  }
  void hand_out(Tensor& x) override {
    choose_device();
    cuda::hand_out(x, *stream_);
  }
  void take_over(Tensor& x) override {
    choose_device();
    const int from = go_on_after(x, *stream_);
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
  // Any thread may come: each has a current device of its own.
  void choose_device() const { check(cudaSetDevice(stream_->device()), "choosing a device"); }

  std::shared_ptr<Stream> stream_;
  std::mutex mutex_;
  std::shared_ptr<MemorySource> memory_;  // made when it is first asked for
};

}  // namespace

std::shared_ptr<DeviceQueue> device_queue(std::shared_ptr<Stream> stream) {
  return std::make_shared<StreamQueue>(std::move(stream));
}

}  // namespace collie::cuda
