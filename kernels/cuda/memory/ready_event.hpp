// A tensor that goes from one stream of a GPU to another carries an event: it is ready when the event is
// reached.
#pragma once

#include "kernels/cuda/stream.hpp"
#include "kernels/tensor.hpp"

namespace collie::cuda {

// Records the event behind the work that is queued. The stream's device must be the calling thread's.
void release(Tensor& x, Stream& stream);
// What is queued on the stream from now on begins after the event, which the tensor no longer carries.
// Returns the device that it came from.
int acquire(Tensor& x, Stream& stream);

}  // namespace collie::cuda
