// What the kernels' tests run on: the CPU, on one, two and three threads.
#include <tbb/global_control.h>

#include "tests/kernels/support.hpp"

namespace collie::test {

const std::vector<Implementation>& implementations() {
  // More threads than processors, where need be.
  static const tbb::global_control three(tbb::global_control::max_allowed_parallelism, 3);
  static const std::vector<Implementation> all = [] {
    std::vector<Implementation> made;
    for (int threads = 1; threads <= 3; ++threads)
      made.push_back({"cpu, " + std::to_string(threads) + " threads",
                      make_cpu_operations(threads, std::make_shared<MemoryAccount>())});
    return made;
  }();
  return all;
}

}  // namespace collie::test
