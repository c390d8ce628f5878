// Whole training steps on the emulated GPU against PyTorch's float32 ones.
#include "kernels/cuda/backend.hpp"
#include "tests/optim/golden_trainer.hpp"

using namespace collie;
using namespace collie::test;

namespace {

Difference on_gpu(const std::string& name, DType dtype, const Precision& precision) {
  return difference_from_golden(
      name, cuda_backend().make_operations(dtype, 0, std::make_shared<MemoryAccount>()), precision);
}

}  // namespace

static void check_float32(const std::string& name) {
  CAPTURE(name);
  const Difference found = on_gpu(name, DType::f32, {});
  CHECK(found.loss < 2e-5);
  CHECK(found.norm < 1e-4);
}

TEST_CASE("20 AdamW steps on a GPU in float32 follow PyTorch's losses and norms", "[slow]") {
  check_float32(GENERATE("llama_untied", "gpt2", "chatglm_6b"));
}

TEST_CASE("20 AdamW steps of every golden model on a GPU in float32 follow PyTorch's losses and norms",
          "[slow][long]") {
  check_float32(GENERATE(from_range(checkpoints)));
}

TEST_CASE("20 AdamW steps on a GPU in bfloat16 stay within 2e-2 of PyTorch's float32 losses",
          "[slow][long]") {
  const std::string name = GENERATE(from_range(checkpoints));
  CAPTURE(name);
  SECTION("with float32 masters and gradients") {
    CHECK(on_gpu(name, DType::bf16, {.master = true}).loss < 2e-2);
  }
  SECTION("with float32 masters and bfloat16 gradients") {
    CHECK(on_gpu(name, DType::bf16, {.master = true, .full_precision_gradients = false}).loss < 2e-2);
  }
  SECTION("without masters, rounded stochastically") {
    CHECK(on_gpu(name, DType::bf16, {.stochastic = true, .seed = 1}).loss < 2e-2);
  }
}
