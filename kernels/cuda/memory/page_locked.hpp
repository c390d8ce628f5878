// Page-locked host memory: what a GPU reads and writes by itself, while the host goes on. Two ways to have
// it: blocks that are kept for reuse, for copies (host_transfers.hpp), and a source of tensors that kernels
// use in place.
#pragma once

#include <cstddef>
#include <memory>

#include "kernels/cuda/stream.hpp"
#include "kernels/memory.hpp"

namespace collie::cuda {

// Blocks that are kept, because locking pages makes the whole device wait. Process-wide, thread-safe; sizes
// are rounded up to 1/8 of a power of two. Blocks are never given back to the system. Throws
// std::runtime_error where the system refuses.
void* take_page_locked(size_t bytes);
// `bytes`: as it was taken. No copy may be under way in it.
void give_page_locked(void* block, size_t bytes);

// Memory that kernels read and write over the bus as their own device's: for what is used once a step, whose
// copies would only move the same bytes twice. Blocks are used on `stream` alone, which is waited for before
// one goes back. allocate() throws std::runtime_error that says what was asked for.
std::shared_ptr<MemorySource> mapped_memory(std::shared_ptr<Stream> stream);

}  // namespace collie::cuda
