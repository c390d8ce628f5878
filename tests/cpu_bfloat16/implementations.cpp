// What the kernels' tests run on: the CPU in bfloat16, on one and three threads, in both ways of multiplying,
// with weights' gradients of either format.
#include <tbb/global_control.h>

#include "kernels/cpu/bfloat16_product.hpp"
#include "tests/kernels/support.hpp"

namespace collie::test {

const std::vector<Implementation>& implementations() {
  // More threads than processors, where need be.
  static const tbb::global_control three(tbb::global_control::max_allowed_parallelism, 3);
  static const std::vector<Implementation> all = [] {
    std::vector<Implementation> made;
    const auto add = [&](cpu::Bfloat16Products way, const std::string& products) {
      for (const int threads : {1, 3})
        for (const bool full_precision : {true, false})
          made.push_back({"cpu, bfloat16, " + products + " products, " + std::to_string(threads) +
                              " threads, " + (full_precision ? "float32" : "bfloat16") + " gradients",
                          make_cpu_operations(threads, std::make_shared<MemoryAccount>(), DType::bf16),
                          [way] { cpu::use_bfloat16_products(way); }, full_precision, products});
    };
    add(cpu::Bfloat16Products::from_floats, "converted");
    if (cpu::has_native_products()) add(cpu::Bfloat16Products::native, "native");
    return made;
  }();
  return all;
}

}  // namespace collie::test
