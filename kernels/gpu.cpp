#include "kernels/gpu.hpp"

namespace collie {

namespace {

const GpuBackend*& chosen() {
  static const GpuBackend* backend = nullptr;
  return backend;
}

}  // namespace

void set_gpu_backend(const GpuBackend* backend) {
  chosen() = backend;
}

const GpuBackend* gpu_backend() {
  return chosen();
}

GpuReport gpu_report() {
  if (chosen() != nullptr) return chosen()->report();
  return {{}, "", "this program was built without CUDA (no nvcc was found when it was configured)"};
}

}  // namespace collie
