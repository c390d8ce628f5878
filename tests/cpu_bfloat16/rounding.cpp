// Conversion between float32 and bfloat16, on every instruction set, against the host's scalar conversion.
#include <bit>
#include <cmath>

#include "kernels/cpu/instruction_sets.hpp"
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

// Back to the best when the test ends, however it ends.
struct BestInstructionsAfter {
  ~BestInstructionsAfter() { cpu::use_instruction_set(""); }
};

// For every bfloat16 number, and for what is not a number: itself, its neighbours among the floats, and the
// middle between it and the next bfloat16 with its neighbours.
std::vector<float> telling_floats() {
  std::vector<float> values;
  for (uint32_t upper = 0; upper < 0x10000; ++upper)
    for (const uint32_t lower : {0x0000U, 0x0001U, 0x7FFFU, 0x8000U, 0x8001U, 0xFFFFU})
      values.push_back(std::bit_cast<float>(upper << 16 | lower));
  return values;
}

uint32_t bits_of(float value) {
  return std::bit_cast<uint32_t>(value);
}

}  // namespace

TEST_CASE("floats are rounded to the nearest bfloat16, ties to even, and no NaN is lost", "[bfloat16]") {
  const BestInstructionsAfter restore;
  const std::vector<float> values = telling_floats();
  const auto count = static_cast<int64_t>(values.size());
  const auto ops = make_cpu_operations(1, std::make_shared<MemoryAccount>(), DType::bf16);
  for (const std::string& name : cpu::instruction_sets()) {
    CAPTURE(name);
    cpu::use_instruction_set(name);
    Tensor wide = ops->empty({count}, DType::f32, Category::activations),
           narrow = ops->empty({count}, Category::activations),
           back = ops->empty({count}, DType::f32, Category::activations);
    std::copy(values.begin(), values.end(), wide.data<float>());
    ops->convert(wide, narrow);
    ops->convert(narrow, back);
    const auto* const found = static_cast<const uint16_t*>(narrow.raw());
    int64_t wrong = 0;
    for (int64_t i = 0; i < count; ++i) {
      const float value = values[static_cast<size_t>(i)];
      wrong += found[i] != host::to_bf16(value);
      wrong += bits_of(back.data<float>()[i]) != static_cast<uint32_t>(found[i]) << 16;
      wrong += std::isnan(value) != std::isnan(back.data<float>()[i]);
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("every instruction set gives the same numbers in bfloat16 within its rounding", "[bfloat16]") {
  const BestInstructionsAfter restore;
  for (const std::string& name : cpu::instruction_sets()) {
    CAPTURE(name);
    cpu::use_instruction_set(name);
    conforms([](Bench& bench) {
      const Shape flat{19, 83}, heads{19, 2, 20};
      Tensor x = bench.input(random_values(flat, 1)), up = bench.input(random_values(flat, 2));
      Tensor sum = bench.output(flat), gated = bench.output(flat);
      bench.ops.add(x, up, sum);
      bench.ops.gated(Activation::silu, x, up, gated);
      Tensor logits = bench.input(random_values(flat, 3, 3));
      const double loss = cross_entropy(bench.ops, logits, random_integers(19, 83, 4), 0.25);
      Tensor q = bench.input(random_values(heads, 5)), out = bench.output(heads),
             sums = bench.statistics(Shape{19, 2});
      bench.ops.attention(q, q, q, {{0, 19}, {0, 19}}, 0.3, out, sums);
      return Outputs{bench.read(sum), bench.read(gated), bench.read(logits),
                     bench.read(out), bench.read(sums),  {static_cast<float>(loss)}};
    });
  }
}
