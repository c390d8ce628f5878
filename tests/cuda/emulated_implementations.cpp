// What the kernels' tests run on: kernels/cuda on the host, a block's threads in either order.
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/emulation/cuda_runtime.hpp"
#include "tests/kernels/support.hpp"

namespace collie::test {

const std::vector<Implementation>& implementations() {
  static const std::vector<Implementation> all{
      {"emulated GPU, first thread first",
       cuda_backend().make_operations(DType::f32, 0, std::make_shared<MemoryAccount>()),
       [] { emulation::set_backward_order(false); }},
      {"emulated GPU, last thread first",
       cuda_backend().make_operations(DType::f32, 0, std::make_shared<MemoryAccount>()),
       [] { emulation::set_backward_order(true); }}};
  return all;
}

}  // namespace collie::test
