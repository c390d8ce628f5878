// Copies between a GPU and page-locked host memory on streams of their own: one for each direction of the
// bus.
#pragma once

#include <memory>

#include "kernels/cuda/stream.hpp"
#include "kernels/offload.hpp"

namespace collie::cuda {

// Tensors are used on `compute`.
std::unique_ptr<HostCopies> make_host_copies(std::shared_ptr<Stream> compute);

}  // namespace collie::cuda
