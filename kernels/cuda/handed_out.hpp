// A tensor's way from one stream of a GPU to another: its note says where the work on it stands.
#pragma once

#include "kernels/cuda/stream.hpp"
#include "kernels/tensor.hpp"

namespace collie::cuda {

// Leaves the note. The stream's device must be the calling thread's.
void hand_out(Tensor& x, Stream& stream);
// What is queued on the stream from now on begins after the work on the tensor. Takes the note off, and
// returns the device it came from.
int go_on_after(Tensor& x, Stream& stream);

}  // namespace collie::cuda
