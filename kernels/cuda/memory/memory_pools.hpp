// The driver's memory pools behind the stream-ordered allocator, one per device.
#pragma once

namespace collie::cuda {

// Makes the pool keep freed memory. If the hardware allows it, the other devices that this process has
// prepared may access its memory, and it may access theirs (NCCL reads the buffers of a process's GPUs
// directly). Thread-safe. Makes `device` the calling thread's current one.
void prepare_memory_pool(int device);

}  // namespace collie::cuda
