// Tensors between stages in different processes, over the link of their ranks.
#pragma once

#include <memory>
#include <vector>

#include "actors/messages.hpp"
#include "comm/byte_link.hpp"

namespace collie {

// A tensor on its way; keeps what the link needs until it is dropped.
class TensorSend {
 public:
  // `tensor` is contiguous. Throws the link's failure.
  TensorSend(comm::ByteLink& link, int to_rank, const Channel& channel, const Tensor& tensor);

 private:
  std::vector<std::unique_ptr<comm::Transfer>> pieces_;
};

// Fills `tensor`, which the peer has sent on the channel; blocks until all of it is there. Throws the link's
// failure.
void receive_tensor(comm::ByteLink& link, int from_rank, const Channel& channel, Tensor& tensor);

}  // namespace collie
