// bench_gpu_ops' measurement at sizes that take no time, on the emulated GPU and on the CPU.
#include "bench/operation_rates.hpp"

#include <set>

#include "bench/shapes.hpp"
#include "kernels/cuda/backend.hpp"
#include "tests/catch.hpp"

using namespace collie;
using namespace collie::bench;

namespace {

constexpr Timing once{0, 0, 1};

ModelConfig tiny() {
  return parse_model_config(model_shape("tiny").config, "tiny");
}

const OperationCase& named(const std::vector<OperationCase>& cases, const std::string& name) {
  for (const OperationCase& each : cases)
    if (each.name == name) return each;
  throw std::runtime_error("there is no case " + name);
}

}  // namespace

TEST_CASE("every operation of a step is measured on any table") {
  const auto account = std::make_shared<MemoryAccount>();
  const std::unique_ptr<Operations> tables[] = {make_cpu_operations(1, account),
                                                cuda_backend().make_operations(DType::f32, 0, account),
                                                cuda_backend().make_operations(DType::bf16, 0, account)};
  for (const auto& operations : tables) {
    const Ceilings ceilings = measure_ceilings(*operations, once, 1 << 12, 8);
    CHECK(ceilings.bytes_per_second > 0);
    CHECK(ceilings.flops_per_second > 0);
    std::set<std::string> names;
    for (const OperationCase& operation : operation_cases(tiny(), *operations, 24, 8)) {
      INFO(name(operations->dtype()) << " " << operation.name);
      const OperationRate rate = rate_of(operation, *operations, once, ceilings);
      CHECK(rate.seconds > 0);
      CHECK(rate.share > 0);
      names.insert(operation.name);
    }
    CHECK(names.size() == 50);
  }
}

TEST_CASE("what an operation does at least is counted from its shapes") {
  const auto table = cuda_backend().make_operations(DType::bf16, 0, std::make_shared<MemoryAccount>());
  const auto cases = operation_cases(tiny(), *table, 24, 8);
  // tiny: hidden 64, 4 heads of 16, 2 of them keys'; 24 tokens in 3 documents
  CHECK(named(cases, "add").work.bytes == 2 * 3 * 24 * 64);
  CHECK(named(cases, "gemm gate forward").work.flops == 2 * 24 * 64 * 160);
  CHECK(named(cases, "gemm gate backward weight").work.flops == 2 * 24 * 64 * 160);
  CHECK(named(cases, "attention").work.flops == 4 * 3 * 36 * 4 * 16);  // 36 keys are seen in a document of 8
  CHECK(named(cases, "adamw").work.bytes == 160 * 64 * (2 + 7 * 4));
}

TEST_CASE("a rate is held against the ceiling that limits it") {
  const auto operations = make_cpu_operations(1, std::make_shared<MemoryAccount>());
  const auto cases = operation_cases(tiny(), *operations, 24, 8);
  const OperationRate add = rate_of(named(cases, "add"), *operations, once, {1e9, 0});
  CHECK(add.share == Approx(add.bytes_per_second / 1e9));
  const OperationRate product = rate_of(named(cases, "gemm q forward"), *operations, once, {0, 1e9});
  CHECK(product.share == Approx(product.flops_per_second / 1e9));
}
