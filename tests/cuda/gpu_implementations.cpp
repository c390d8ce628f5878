// What the kernels' tests run on: a GPU, emulated (a block's threads in either order) or real. Where
// COLLIE_TEST_GRAPHS is set, all work of every test is recorded into graphs.
#include <cstdlib>

#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/cuda_operations.hpp"
#include "tests/cuda/thread_order.hpp"
#include "tests/kernels/support.hpp"

namespace collie::test {

namespace {

// From here on, until the next time. A task is recorded from the second time on that it comes.
void record_all(Operations& operations) {
  cuda::GraphRecorder& graphs = dynamic_cast<CudaOperations&>(operations).stream()->graphs();
  constexpr int64_t task = 1;
  while (true) {
    graphs.end();
    graphs.begin(task);
    if (graphs.records()) return;
  }
}

Implementation on_the_gpu(bool backward) {
  Implementation made{backward ? "GPU, last thread first" : "GPU, first thread first",
                      cuda_backend().make_operations(DType::f32, 0, std::make_shared<MemoryAccount>()),
                      [backward] { set_backward_order(backward); }};
  if (std::getenv("COLLIE_TEST_GRAPHS") == nullptr) return made;
  made.name += ", in graphs";
  made.before = [backward, &operations = *made.operations] {
    set_backward_order(backward);
    record_all(operations);
  };
  return made;
}

}  // namespace

const std::vector<Implementation>& implementations() {
  static const std::vector<Implementation> all = [] {
    std::vector<Implementation> made;
    for (const bool backward : backward_orders()) made.push_back(on_the_gpu(backward));
    return made;
  }();
  return all;
}

}  // namespace collie::test
