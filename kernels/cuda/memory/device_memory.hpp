// Memory of one device, handed out and taken back in the order of a stream: CUDA's stream-ordered allocator,
// told to keep what is freed for the next request.
#pragma once

#include <memory>

#include "kernels/cuda/stream.hpp"
#include "kernels/memory.hpp"

namespace collie::cuda {

// A block is the stream's: who uses it on another stream makes this stream wait before the last handle goes.
// allocate() throws std::runtime_error that says what was asked for and what the device has.
std::shared_ptr<MemorySource> device_memory(std::shared_ptr<Stream> stream);

}  // namespace collie::cuda
