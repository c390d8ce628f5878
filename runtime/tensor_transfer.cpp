#include "runtime/tensor_transfer.hpp"

#include <algorithm>
#include <functional>
#include <span>

namespace collie {
namespace {

// The tags are above those of groups (comm/linked_process_group.cpp); there is one per channel.
uint64_t tag_of(const Channel& channel) {
  return uint64_t{1} << 60 | static_cast<uint64_t>(channel.direction) << 56 |
         static_cast<uint64_t>(channel.from_stage) << 28 | static_cast<uint64_t>(channel.to_stage);
}

void for_each_piece(const comm::ByteLink& link, const Tensor& tensor,
                    const std::function<void(std::span<std::byte>)>& visit) {
  COLLIE_ASSERT(tensor.contiguous(), "a tensor that leaves the process must be contiguous");
  auto* const data = static_cast<std::byte*>(tensor.raw());
  for (size_t begin = 0; begin < tensor.bytes(); begin += link.most_bytes())
    visit({data + begin, std::min(link.most_bytes(), tensor.bytes() - begin)});
}

// Returns a copy if the tensor is on another device.
Tensor on_host(const Tensor& tensor) {
  if (tensor.device() == DeviceKind::cpu) return tensor;
  Tensor copy = Tensor::host(tensor.shape(), tensor.dtype(), std::make_shared<MemoryAccount>(),
                             Category::communication);
  tensor.read(copy.raw());
  return copy;
}

}  // namespace

Tensor detach_tensor(Payload& payload, int sender) {
  Tensor tensor = std::move(payload.tensor);
  payload.tensor = Tensor();
  payload.sender = sender;
  payload.dtype = tensor.dtype();
  for (int axis = 0; axis < tensor.shape().rank(); ++axis) payload.dims.push_back(tensor.dim(axis));
  return tensor;
}

void announce_over(const NcclPipe& pipe, Payload& payload) {
  payload.number = pipe.next();
}

Tensor receive_over(NcclPipe& pipe, const Payload& payload, std::shared_ptr<MemoryAccount> account) {
  COLLIE_ASSERT(
      payload.number == pipe.next(),
      "{} of micro-batch {} is announced as number {} of rank {}'s tensors, where number {} is next",
      to_string(payload.channel), payload.micro_batch, payload.number, payload.sender, pipe.next());
  return pipe.receive(Shape::from(payload.dims), payload.dtype, std::move(account));
}

TensorSend::TensorSend(comm::ByteLink& link, int to_rank, const Channel& channel, const Tensor& tensor) {
  const auto owner = std::make_shared<const Tensor>(on_host(tensor));
  for_each_piece(link, *owner, [&](std::span<std::byte> piece) {
    pieces_.push_back(link.send(to_rank, tag_of(channel), piece, owner));
  });
}

void receive_tensor(comm::ByteLink& link, int from_rank, const Channel& channel, Tensor& tensor) {
  const auto owner = std::make_shared<const Tensor>(tensor);
  std::vector<std::unique_ptr<comm::Transfer>> pieces;
  for_each_piece(link, tensor, [&](std::span<std::byte> piece) {
    pieces.push_back(link.receive(from_rank, tag_of(channel), piece, owner));
  });
  for (const auto& piece : pieces) piece->wait(comm::Patience::limited);
}

}  // namespace collie
