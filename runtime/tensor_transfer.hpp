// Tensors between stages that travel beside the message that announces them: over the link of ranks in
// different processes, or over NCCL between GPUs.
#pragma once

#include <memory>
#include <vector>

#include "comm/byte_link.hpp"
#include "comm/nccl/nccl_pipe.hpp"
#include "runtime/messages.hpp"

namespace collie {

// Takes the tensor out of the message, which then describes it.
Tensor detach_tensor(Payload& payload, int sender);

// The static order. NCCL has no tags: a receive gets what was sent first of what is not received yet. What is
// sent on a pipe, by one stage actor in the order of its programs, is announced by messages from that actor
// to one receiver actor, which CAF delivers in the order in which they were sent; the receiver posts its
// receives in that order, and does nothing else with the pipe. So the k-th receive is the k-th send's,
// whatever the schedule; the number in the message is k, and is looked at.
//
// Neither can wait for the other for ever: the message is sent before the send is posted, and is answered by
// a receive whatever the receiving rank computes or waits for. On the device either occupies the pipe's own
// queue alone, and stands behind nothing but earlier transfers of this pipe and, the send, what its rank has
// computed before.
void announce_over(const NcclPipe& pipe, Payload& payload);
// Posts the receive of what was announced; the tensor is handed out, and still to come.
Tensor receive_over(NcclPipe& pipe, const Payload& payload, std::shared_ptr<MemoryAccount> account);

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
