// Page-locked host memory that kernels read and write over the bus, as their own device's: for what is used
// once a step, whose copies would only move the same bytes twice.
#pragma once

#include <memory>

#include "kernels/cuda/stream.hpp"
#include "kernels/memory.hpp"

namespace collie::cuda {

// Blocks are used on `stream` alone, which is waited for before one goes back. allocate() throws
// std::runtime_error that says what was asked for.
std::shared_ptr<MemorySource> mapped_memory(std::shared_ptr<Stream> stream);

}  // namespace collie::cuda
