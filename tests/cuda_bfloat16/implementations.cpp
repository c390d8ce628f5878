// What the kernels' tests run on: a GPU, emulated or real, in bfloat16, with weights' gradients of either
// format.
#include "kernels/cuda/backend.hpp"
#include "tests/kernels/support.hpp"

namespace collie::test {

const std::vector<Implementation>& implementations() {
  const auto operations = [] {
    return cuda_backend().make_operations(DType::bf16, 0, std::make_shared<MemoryAccount>());
  };
  static const std::vector<Implementation> all{
      {"GPU, bfloat16, float32 gradients", operations(), [] {}, true},
      {"GPU, bfloat16, bfloat16 gradients", operations(), [] {}, false}};
  return all;
}

}  // namespace collie::test
