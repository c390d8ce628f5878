// The driver's pools of memory, one a device, behind the stream-ordered allocator.
#pragma once

namespace collie::cuda {

// What is freed stays with the pool, and the other devices that this process has prepared may reach into its
// memory, and it into theirs, where the hardware lets them (NCCL reads the buffers of a process's GPUs
// directly). Thread-safe; makes `device` the calling thread's.
void prepare_memory_pool(int device);

}  // namespace collie::cuda
