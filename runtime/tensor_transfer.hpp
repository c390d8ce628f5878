// Tensors between stages that travel beside the message that announces them: over the link between ranks in
// different processes, or over NCCL between GPUs.
#pragma once

#include <memory>
#include <vector>

#include "comm/byte_link.hpp"
#include "comm/nccl/nccl_pipe.hpp"
#include "runtime/messages.hpp"

namespace collie {

// Takes the tensor out of the message. The message then describes it.
Tensor detach_tensor(Payload& payload, int sender);

// The static order. NCCL has no tags: a receive gets the oldest send that is not received yet. One stage
// actor makes all sends on a pipe, in the order of its programs, and announces them by messages to one
// receiver actor. CAF delivers those messages in the order in which they were sent. The receiver posts its
// receives in that order and does nothing else with the pipe. So the k-th receive matches the k-th send,
// whatever the schedule; the number in the message is k, and the receiver checks it.
//
// Neither side can wait for the other for ever. The message is sent before the send is posted, and a receive
// answers it whatever the receiving rank computes or waits for. On the device each occupies only the pipe's
// own queue. It waits only for earlier transfers of this pipe, and a send also waits for its rank's earlier
// computation.
void announce_over(const NcclPipe& pipe, Payload& payload);
// Posts the receive of the announced tensor. Returns the tensor, whose data is still to come.
Tensor receive_over(NcclPipe& pipe, const Payload& payload, std::shared_ptr<MemoryAccount> account);

// A tensor in flight. It keeps everything that the link needs until it is dropped.
class TensorSend {
 public:
  // `tensor` must be contiguous. Throws the link's failure.
  TensorSend(comm::ByteLink& link, int to_rank, const Channel& channel, const Tensor& tensor);

 private:
  std::vector<std::unique_ptr<comm::Transfer>> pieces_;
};

// Fills `tensor` with the tensor that the peer has sent on the channel. Blocks until all of it is there.
// Throws the link's failure.
void receive_tensor(comm::ByteLink& link, int from_rank, const Channel& channel, Tensor& tensor);

}  // namespace collie
