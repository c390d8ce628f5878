// A tensor that goes from one stream of a GPU to another carries a ready event: the tensor is ready when the
// event is reached.
#pragma once

#include "kernels/cuda/stream.hpp"
#include "kernels/tensor.hpp"

namespace collie::cuda {

// Records the event behind the work that is queued. The stream's device must be the calling thread's current
// one.
void release(Tensor& x, Stream& stream);
// Work that is queued on the stream from now on begins after the event, which the tensor then no longer
// carries. Returns the device that the tensor came from.
int acquire(Tensor& x, Stream& stream);

}  // namespace collie::cuda
