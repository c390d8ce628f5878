// Several emulated GPUs, with NCCL's double between them.
#pragma once

#include "comm/nccl/api.hpp"
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/emulation/cuda_runtime.hpp"
#include "tests/devices/nccl_double.hpp"

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

}  // namespace collie::test
