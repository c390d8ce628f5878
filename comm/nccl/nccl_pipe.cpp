#include "comm/nccl/nccl_pipe.hpp"

#include "base/error.hpp"
#include "comm/nccl/data_type.hpp"

namespace collie {

NcclPipe::NcclPipe(const nccl::Api& api, std::string who, End end, std::shared_ptr<DeviceQueue> queue,
                   std::function<void()> others)
    : api_(api),
      end_(end),
      queue_(std::move(queue)),
      communicator_(api, std::move(who), static_cast<int>(end), 2, std::move(others)) {}

void NcclPipe::connect(const nccl::UniqueId& id) {
  queue_->native();  // makes the device the thread's current one
  communicator_.connect(id);
  // NCCL connects two ranks at their first transfer, during which the hosts wait for each other.
  post(Tensor::on(queue_->memory(), {1}, DType::i32, std::make_shared<MemoryAccount>(),
                  Category::communication));
}

void NcclPipe::post(const Tensor& x) {
  if (x.numel() == 0) return;
  CUstream_st* const stream = queue_->native();
  const auto count = static_cast<size_t>(x.numel());
  const nccl::DataType type = nccl::type_of(x.dtype());
  communicator_.run([&](ncclComm* comm) {
    return end_ == End::sending
               ? api_.send(x.raw(), count, type, static_cast<int>(End::receiving), comm, stream)
               : api_.recv(x.raw(), count, type, static_cast<int>(End::sending), comm, stream);
  });
}

void NcclPipe::send(Tensor x) {
  COLLIE_ASSERT(end_ == End::sending, "the receiving end of a pipe sends nothing");
  COLLIE_ASSERT(x.contiguous(), "a tensor that is sent must be contiguous");
  queue_->acquire(x);
  post(x);
  ++next_;
}

Tensor NcclPipe::receive(const Shape& shape, DType dtype, std::shared_ptr<MemoryAccount> account) {
  COLLIE_ASSERT(end_ == End::receiving, "the sending end of a pipe receives nothing");
  Tensor x = Tensor::on(queue_->memory(), shape, dtype, std::move(account), Category::communication);
  post(x);
  queue_->release(x);
  ++next_;
  return x;
}

}  // namespace collie
