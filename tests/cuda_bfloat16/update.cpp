// The CPU's update in bfloat16 against the GPU's: the formulas and the random bits of a rounding are the
// same.
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

// Every mixture of dtypes, at an index that is not a multiple of anything.
Outputs updated(Operations& ops, const RuleCase& rule, const Rounding& rounding) {
  std::vector<UpdateTensors> ranges;
  uint64_t seed = 0;
  const auto random = [&](DType dtype, double mean) {
    Tensor x = ops.empty({3001}, dtype, Category::optimizer);
    ops.upload(random_values({3001}, ++seed, 0.1, mean).data, x);
    return x;
  };
  ElementwiseUpdate step = step_of(rule.rule, rule.options, 3, {}, rounding);
  for (const DType weight : {DType::bf16, DType::f32})
    for (const DType gradient : {DType::bf16, DType::f32})
      for (const DType state : {DType::bf16, DType::f32}) {
        UpdateTensors range{random(weight, 0), random(gradient, 0), {}, random(DType::bf16, 0), 12345 + seed};
        for (int i = 0; i < states_of(step); ++i)
          range.states.push_back(random(is_wide(step, i) ? DType::f32 : state, i == 1 ? 1 : 0));
        ranges.push_back(range);
      }
  ops.update(ranges, step);
  Outputs outputs;
  const auto read = [&](const Tensor& x) {
    outputs.emplace_back(static_cast<size_t>(x.numel()));
    ops.download(x, outputs.back());
  };
  for (const UpdateTensors& range : ranges) {
    read(range.weight);
    read(range.rounded);
    for (const Tensor& state : range.states) read(state);
  }
  return outputs;
}

}  // namespace

TEST_CASE("an update in bfloat16 has the same bits on the CPU and on a GPU, however it rounds") {
  const auto cpu = make_cpu_operations(2, std::make_shared<MemoryAccount>(), DType::bf16);
  Operations& gpu = *implementations().front().operations;
  for (const RuleCase& rule : all_rules_to_test())
    for (const Rounding& rounding : {Rounding{}, stochastic_rounding(5, 3)}) {
      CAPTURE(rule.rule, rounding.stochastic);
      CHECK(updated(*cpu, rule, rounding) == updated(gpu, rule, rounding));
    }
}
