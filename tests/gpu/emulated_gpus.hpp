// Several emulated GPUs, with NCCL's double between them.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include <cuda_runtime.h>
#include "comm/nccl/api.hpp"
#include "kernels/cuda/backend.hpp"
#include "tests/devices/nccl_double.hpp"
#include "tests/gpu/gpu_runs.hpp"

namespace collie::test {

// So many GPUs, and NCCL between them.
class Gpus {
 public:
  explicit Gpus(int count) {
    set_gpu_backend(&cuda_backend());
    emulation::set_device_count(count);
    nccl::use(&nccl_double());
    for (int device = 0; device < 4; ++device) take_nccl_calls(device);
  }
  ~Gpus() {
    emulation::set_device_count(1);
    nccl::use(nullptr);
  }
  Gpus(const Gpus&) = delete;
  Gpus& operator=(const Gpus&) = delete;
};

// Why a long run ends in which the connections of one GPU's ranks are lost, after so many calls of device
// 0's.
inline std::string reason_after_losing(int rank, size_t calls, const LayoutOptions& layout) {
  std::atomic<bool> over = false;
  std::thread cut([&] {
    size_t made = 0;
    while (!over && (made += take_nccl_calls(0).size()) < calls)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    lose_nccl_rank(rank);
  });
  std::string reason;
  try {
    run_layouts(small_maths(), {{layout, 1}, {layout, 500}});
  } catch (const std::exception& error) {
    reason = error.what();
  }
  over = true;
  cut.join();
  return reason;
}

}  // namespace collie::test
