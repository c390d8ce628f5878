// Updates with states of 8 bits: the codes of every number, all devices alike, and what a step may not
// change.
#include <cmath>
#include <limits>

#include "base/divide.hpp"
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

constexpr double broken_factor = std::numeric_limits<double>::quiet_NaN();

const OptionValues quantised_options{
    {"lr", 1e-2}, {"betas", std::vector<double>{0.9, 0.95}}, {"weight_decay", 0.1}};

// States as they begin.
struct QuantisedStates {
  std::array<Tensor, 2> codes, absmax;

  QuantisedStates(Operations& ops, int64_t numel) {
    for (Tensor& each : codes) each = zeros(ops, numel, DType::u8);
    for (Tensor& each : absmax)
      each = zeros(ops, divide_up(numel, quantisation_block), ops.accumulation_dtype());
  }
  static Tensor zeros(Operations& ops, int64_t count, DType dtype) {
    Tensor x = ops.empty({count}, dtype, Category::optimizer);
    ops.fill(x, 0);
    return x;
  }
  // The elements [begin, end), where a block begins.
  QuantisedTensors with(const Tensor& weight, const Tensor& gradient, const Tensor& rounded, int64_t begin,
                        int64_t end) const {
    const auto part = [&](const Tensor& x) { return x.defined() ? x.rows(begin, end) : Tensor(); };
    const auto blocks = [&](const Tensor& x) {
      return x.rows(begin / quantisation_block, divide_up(end, quantisation_block));
    };
    return {part(weight),
            part(gradient),
            {part(codes[0]), part(codes[1])},
            {blocks(absmax[0]), blocks(absmax[1])},
            part(rounded),
            static_cast<uint64_t>(begin)};
  }
};

// Numbers around each midpoint and each value of both maps, and 1; whole blocks.
std::vector<float> critical_numbers() {
  std::vector<float> numbers;
  for (const bool has_signs : quantised_with_signs) {
    const DynamicMap& map = dynamic_map(has_signs);
    for (size_t code = 0; code + 1 < map_size; ++code)
      for (const float x : {map.values[code], map.midpoints[code]})
        for (const float each : {std::nextafter(x, -2.0F), x, std::nextafter(x, 2.0F)})
          for (const float sign : {1.0F, -1.0F}) numbers.push_back(sign * each);
  }
  for (const float x : {0.0F, -0.0F, 1e-30F, -1e-30F, 0.5F, -1.0F}) numbers.push_back(x);
  std::vector<float> blocks;
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (i % (quantisation_block - 1) == 0) blocks.push_back(1);  // the maximum of each block
    blocks.push_back(numbers[i]);
  }
  return blocks;
}

float nearest_code(const DynamicMap& map, float x) {
  int code = 0;
  while (x > map.midpoints[static_cast<size_t>(code)]) ++code;
  return static_cast<float>(code);
}

}  // namespace

TEST_CASE("maps of 8-bit codes ascend from 0 or from almost -1 to 1", "[quantised]") {
  for (const bool has_signs : quantised_with_signs) {
    const DynamicMap& map = dynamic_map(has_signs);
    CHECK(std::is_sorted(map.values.begin(), map.values.end()));
    CHECK(std::adjacent_find(map.values.begin(), map.values.end()) == map.values.end());
    CHECK(map.values.back() == 1);
    CHECK(map.values[has_signs ? 127 : 0] == 0);
  }
}

TEST_CASE("every number of a first moment gets the code of the nearest value", "[quantised]") {
  const std::vector<float> numbers = critical_numbers();
  const auto count = static_cast<int64_t>(numbers.size());
  on_every_table([&](Operations& ops) {
    if (ops.accumulation_dtype() == DType::f64) return;  // another midpoint is half-way in double
    QuantisedStates states(ops, count);
    Tensor weight = QuantisedStates::zeros(ops, count, DType::f32),
           gradient = ops.empty({count}, DType::f32, Category::gradients);
    ops.upload(numbers, gradient);
    // The first moment is the gradient.
    const ElementwiseUpdate step = step_of("adamw", {{"betas", std::vector<double>{0, 0}}}, 1);
    QuantisedTensors range = states.with(weight, gradient, {}, 0, count);
    ops.update_quantised({&range, 1}, step);
    std::vector<float> codes(numbers.size()), absmax(static_cast<size_t>(states.absmax[0].numel()));
    ops.download(states.codes[0], codes);
    ops.download(states.absmax[0], absmax);
    CHECK(absmax == std::vector<float>(absmax.size(), 1.0F));
    size_t wrong = 0;
    for (size_t i = 0; i < numbers.size(); ++i)
      if (codes[i] != nearest_code(dynamic_map(true), numbers[i])) ++wrong;
    CHECK(wrong == 0);
    ops.download(states.codes[1], codes);
    for (size_t i = 0; i < numbers.size(); ++i)
      if (codes[i] != nearest_code(dynamic_map(false), numbers[i] * numbers[i])) ++wrong;
    CHECK(wrong == 0);
  });
}

TEST_CASE("steps with states of 8 bits conform, whatever is aligned", "[conformance]") {
  for (const int64_t numel :
       {int64_t{0}, int64_t{1}, int64_t{255}, int64_t{256}, int64_t{1000}, int64_t{70001}}) {
    CAPTURE(numel);
    const Values weight = random_values({numel + 1}, 32), gradient = random_values({numel + 1}, 33, 0.1);
    conforms([&](Bench& bench) {
      const Tensor g = bench.gradient(gradient, true).rows(1, numel + 1),
                   own = bench.input(weight).rows(1, numel + 1), master = bench.table(weight).rows(0, numel),
                   rounded = bench.output(Shape{numel});
      const QuantisedStates of_own(bench.ops, numel), of_master(bench.ops, numel);
      const int64_t cut = numel / 3 / quantisation_block * quantisation_block;
      std::vector<QuantisedTensors> ranges;
      for (const auto& [begin, end] : {std::pair{int64_t{0}, cut}, {cut, numel}}) {
        ranges.push_back(of_own.with(own, g, {}, begin, end));
        ranges.push_back(of_master.with(master, g, rounded, begin, end));
      }
      for (int64_t step = 1; step <= 3; ++step)
        bench.ops.update_quantised(ranges,
                                   step_of("adamw", quantised_options, step, doubles(bench.ops, {0.3})));
      Outputs outputs{bench.read(own), bench.read(master), bench.read(rounded)};
      for (const QuantisedStates& states : {of_own, of_master})
        for (size_t i = 0; i < 2; ++i) {
          outputs.push_back(bench.read(states.absmax[i]));
          // Of very many numbers one may be half-way between two codes.
          if (numel <= 1000) outputs.push_back(bench.read(states.codes[i]));
        }
      return outputs;
    });
  }
}

TEST_CASE("cuts between blocks change no bit, and a factor that is not a number changes nothing",
          "[quantised]") {
  constexpr int64_t numel = 5000;
  on_every_table([&](Operations& ops) {
    Bench bench(ops, false);
    const Tensor gradient = bench.dense_input(random_values({numel}, 2, 0.1));
    const auto outcome = [&](const std::vector<int64_t>& cuts) {
      const Tensor weight = bench.dense_input(random_values({numel}, 1));
      const QuantisedStates states(ops, numel);
      std::vector<QuantisedTensors> ranges;
      for (size_t i = 0; i + 1 < cuts.size(); ++i)
        ranges.push_back(states.with(weight, gradient, {}, cuts[i], cuts[i + 1]));
      const auto all = [&] {
        return Outputs{bench.read(weight), bench.read(states.codes[0]), bench.read(states.codes[1]),
                       bench.read(states.absmax[0]), bench.read(states.absmax[1])};
      };
      for (int64_t step = 1; step <= 3; ++step)
        ops.update_quantised(ranges, step_of("adamw", quantised_options, step, doubles(ops, {1}), {true, 7}));
      const Outputs before = all();
      ops.update_quantised(ranges,
                           step_of("adamw", quantised_options, 4, doubles(ops, {broken_factor}), {true, 7}));
      CHECK(all() == before);
      return before;
    };
    CHECK(outcome({0, numel}) == outcome({0, 256, 1024, 4096, 4864, numel}));
  });
}

TEST_CASE("the first step with states of 8 bits is AdamW's, rounded by the same random bits", "[quantised]") {
  constexpr int64_t numel = 3001;
  on_every_table([&](Operations& ops) {
    Bench bench(ops, false);
    const Tensor gradient = bench.dense_input(random_values({numel}, 2, 0.1));
    const Tensor plain = bench.dense_input(random_values({numel}, 1)),
                 quantised = bench.dense_input(random_values({numel}, 1));
    std::vector<Tensor> states(2);
    for (Tensor& state : states) state = QuantisedStates::zeros(ops, numel, ops.accumulation_dtype());
    const ElementwiseUpdate step = step_of("adamw", quantised_options, 1, doubles(ops, {0.5}), {true, 99});
    UpdateTensors as_numbers{plain, gradient, states, {}, 17};
    ops.update({&as_numbers, 1}, step);
    QuantisedTensors in_blocks = QuantisedStates(ops, numel).with(quantised, gradient, {}, 0, numel);
    in_blocks.first_index = 17;
    ops.update_quantised({&in_blocks, 1}, step);
    CHECK(bench.read(quantised) == bench.read(plain));
    CHECK(bench.read(quantised) != random_values({numel}, 1).data);
  });
}
