// Memory of one device, allocated and freed in the order of a stream. It uses CUDA's stream-ordered
// allocator, which is told to keep freed memory for the next request.
#pragma once

#include <memory>

#include "kernels/cuda/stream.hpp"
#include "kernels/memory.hpp"

namespace collie::cuda {

// A block belongs to the stream. A user on another stream must make this stream wait before the last handle
// goes. allocate() throws a std::runtime_error that says what was asked for and what the device has.
std::shared_ptr<MemorySource> device_memory(std::shared_ptr<Stream> stream);

}  // namespace collie::cuda
