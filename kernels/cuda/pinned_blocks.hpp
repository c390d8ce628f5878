// Page-locked host memory, kept for reuse: locking pages makes the whole device wait.
#pragma once

#include <cstddef>

namespace collie::cuda {

// Process-wide, thread-safe; sizes are rounded up to 1/8 of a power of two. Blocks are never given back to
// the system. Throws std::runtime_error where the system refuses.
void* take_pinned(size_t bytes);
// `bytes`: as it was taken. No copy may be under way in it.
void give_pinned(void* block, size_t bytes);

}  // namespace collie::cuda
