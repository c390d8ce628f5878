// The GPU back end of this program, if any. The layers above know only this file. A program that was linked
// with a back end names it at its start.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "kernels/device_queue.hpp"
#include "kernels/operations.hpp"

namespace collie {

struct Gpu {
  int index;
  std::string name;        // "NVIDIA H200"
  std::string capability;  // "9.0"
  size_t memory_bytes;
};

// The GPUs that were found on this machine. If there are none, `why_none` says what was looked for and what
// was missing.
struct GpuReport {
  std::vector<Gpu> gpus;
  std::string driver;  // "CUDA 13.0"
  std::string why_none;
};

// One GPU's memory as the driver reports it, for all programs that use it together.
struct GpuMemory {
  size_t free_bytes, total_bytes;
};

class GpuBackend {
 public:
  virtual ~GpuBackend() = default;
  virtual GpuReport report() const = 0;
  // Makes `gpu` the calling thread's current one. Throws std::runtime_error if the driver does not answer.
  virtual GpuMemory memory(int gpu) const = 0;
  // The dtype is float32 or bfloat16. Throws std::runtime_error if the device or a library it needs is not
  // there.
  virtual std::unique_ptr<Operations> make_operations(DType dtype, int gpu,
                                                      std::shared_ptr<MemoryAccount> account) const = 0;
  // The first is the queue into which a table of make_operations() puts its work; the second is another queue
  // beside it. The second throws as make_operations() does.
  virtual std::shared_ptr<DeviceQueue> queue_of(const Operations& operations) const = 0;
  virtual std::shared_ptr<DeviceQueue> make_queue(int gpu) const = 0;
  // The same for the same GPU in every process, and different for every other GPU.
  virtual std::array<std::byte, 16> identity_of(int gpu) const = 0;
};

// Sets the program's back end from now on; it must outlive its use. Not thread-safe: for main().
void set_gpu_backend(const GpuBackend* backend);
const GpuBackend* gpu_backend();  // nullptr: built without one
// The report of the back end, or the reason why there is none.
GpuReport gpu_report();

}  // namespace collie
