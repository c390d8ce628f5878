#include "kernels/cuda/memory/ready_event.hpp"

namespace collie::cuda {

namespace {

struct Released {
  int device;
  Event done;
};

}  // namespace

void release(Tensor& x, Stream& stream) {
  auto note = std::make_shared<Released>();
  note->device = stream.device();
  stream.record(note->done);
  x.set_note(std::move(note));
}

int acquire(Tensor& x, Stream& stream) {
  const auto note = std::static_pointer_cast<const Released>(x.note());
  COLLIE_ASSERT(note != nullptr, "a tensor of shape {} is taken over that nobody has handed out",
                x.shape().to_string());
  stream.wait(note->done);
  x.set_note(nullptr);
  return note->device;
}

}  // namespace collie::cuda
