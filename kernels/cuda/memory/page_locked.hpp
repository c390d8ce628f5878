// Page-locked host memory, which a GPU reads and writes by itself while the host goes on. There are two
// kinds: blocks that are kept for reuse, for copies (host_transfers.hpp), and a source of tensors that
// kernels use in place.
#pragma once

#include <cstddef>
#include <memory>

#include "kernels/cuda/stream.hpp"
#include "kernels/memory.hpp"

namespace collie::cuda {

// Blocks are kept, because locking pages makes the whole device wait. Process-wide, thread-safe. Sizes are
// rounded up to 1/8 of a power of two. Blocks are never given back to the system. Throws std::runtime_error
// if the system refuses.
void* take_page_locked(size_t bytes);
// `bytes` is the size given to take_page_locked(). No copy may be under way in the block.
void give_page_locked(void* block, size_t bytes);

// Memory that kernels read and write over the bus like their own device's. It is for data used once per step,
// for which a copy would only move the same bytes twice. Blocks are used on `stream` alone, which is waited
// for before a block goes back. allocate() throws a std::runtime_error that says what was asked for.
std::shared_ptr<MemorySource> mapped_memory(std::shared_ptr<Stream> stream);

}  // namespace collie::cuda
