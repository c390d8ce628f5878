#include <stdexcept>
#include <string>

#include "kernels/cuda/api.hpp"

namespace collie::cuda {

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  throw std::runtime_error(std::string("CUDA: ") + what + ": " + cudaGetErrorString(status));
}

}  // namespace collie::cuda
