// The receiver actor of a rank takes the tensors of stages in other processes off the link while the rank
// computes. For tensors over NCCL it posts their receives. It passes them on to the stage. A channel's
// credits bound the tensors that it holds.
#include "actors/caf_types.hpp"
#include "actors/guard.hpp"
#include "runtime/tensor_transfer.hpp"

namespace collie {
namespace {

struct ReceiverState {
  const char* name = "receiver";
};

Tensor receive(const ReceiverSpec& spec, const Payload& payload) {
  if (const auto pipe = spec.connections->pipe_from(payload.sender))
    return receive_over(*pipe, payload, spec.account);
  Tensor tensor =
      Tensor::host(Shape::from(payload.dims), payload.dtype, spec.account, Category::communication);
  receive_tensor(*spec.connections->link(), payload.sender, payload.channel, tensor);
  return tensor;
}

caf::behavior receiver_behaviour(caf::stateful_actor<ReceiverState>* self, const ReceiverSpec& spec) {
  report_exceptions_to(self, spec.owner, spec.tag, "rank " + std::to_string(spec.rank));
  return {[self, spec](Payload& payload) {
    if (!(payload.tag == spec.tag)) return;
    try {
      payload.tensor = receive(spec, payload);
    } catch (const std::exception&) {
      if (spec.connections->given_up() == 0) throw;
      return;  // nobody waits for it any more
    }
    self->send(spec.stage, std::move(payload));
  }};
}

}  // namespace

caf::actor spawn_receiver(caf::actor_system& system, ReceiverSpec spec) {
  return system.spawn<caf::detached>(receiver_behaviour, std::move(spec));
}

}  // namespace collie
