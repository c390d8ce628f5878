// Whole training steps on the CPU in bfloat16, in both ways of multiplying, against PyTorch's float32 ones.
#include "kernels/cpu/bfloat16_product.hpp"
#include "tests/catch.hpp"
#include "tests/optim/golden_trainer.hpp"

using namespace collie;
using namespace collie::test;

namespace {

// Back to the processor's way when the test ends, however it ends.
class ProductsFor {
 public:
  explicit ProductsFor(cpu::Bfloat16Products way) { cpu::use_bfloat16_products(way); }
  ~ProductsFor() { cpu::use_bfloat16_products(before_); }
  ProductsFor(const ProductsFor&) = delete;
  ProductsFor& operator=(const ProductsFor&) = delete;

 private:
  cpu::Bfloat16Products before_ = cpu::bfloat16_products();
};

double loss_difference_on_cpu(const std::string& name, const Precision& precision) {
  auto operations = make_cpu_operations(2, std::make_shared<MemoryAccount>(), DType::bf16);
  return difference_from_golden(name, std::move(operations), precision).loss;
}

}  // namespace

TEST_CASE("20 AdamW steps on the CPU in bfloat16 stay within 2e-2 of PyTorch's float32 losses", "[golden]") {
  const std::string name = GENERATE(from_range(checkpoints));
  const bool native = GENERATE(false, true);
  CAPTURE(name, native);
  if (native && !cpu::has_native_products()) {
    WARN("this processor does not multiply bfloat16 numbers");
    return;
  }
  const ProductsFor way(native ? cpu::Bfloat16Products::native : cpu::Bfloat16Products::from_floats);
  for (const Precision& precision : {Precision{.master = true},
                                     {.master = true, .full_precision_gradients = false},
                                     {.stochastic = true, .seed = 1}}) {
    CAPTURE(precision.master, precision.full_precision_gradients, precision.stochastic);
    const double difference = loss_difference_on_cpu(name, precision);
    CHECK(difference < 2e-2);
    CHECK(difference > 2e-5);  // more than in float32: the run was in bfloat16
  }
}
