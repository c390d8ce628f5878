// What the kernels' tests run on: a GPU, emulated (a block's threads in either order) or real.
#include "kernels/cuda/backend.hpp"
#include "tests/cuda/thread_order.hpp"
#include "tests/kernels/support.hpp"

namespace collie::test {

const std::vector<Implementation>& implementations() {
  static const std::vector<Implementation> all = [] {
    std::vector<Implementation> made;
    for (const bool backward : backward_orders())
      made.push_back({backward ? "GPU, last thread first" : "GPU, first thread first",
                      cuda_backend().make_operations(DType::f32, 0, std::make_shared<MemoryAccount>()),
                      [backward] { set_backward_order(backward); }});
    return made;
  }();
  return all;
}

}  // namespace collie::test
