// kernels/cuda's update rules: mixed element types, lists of tensors, stochastic rounding.
#include "kernels/cuda/ops/update.hpp"

#include "kernels/host_data.hpp"
#include "tests/cuda/device.hpp"

using namespace collie;
using namespace collie::test;

namespace {

const RuleCase& adamw = all_rules_to_test().front();
constexpr double gradient_factor = 0.5;

struct Types {
  Element weight, gradient, state;
};
std::vector<Types> all_types() {
  std::vector<Types> all;
  for (const Element w : elements)
    for (const Element g : elements)
      for (const Element s : elements) all.push_back({w, g, s});
  return all;
}

Values non_negative(Values x) {
  for (float& each : x.data) each = std::abs(each);
  return x;
}

ElementwiseUpdate third_step(const RuleCase& rule) {
  return step_of(rule.rule, rule.options, 3);
}

// One step of the rule on every tensor in the list.
void update(Device& device, std::span<const cuda::UpdateArrays> list, const RuleCase& rule = adamw,
            const Rounding& rounding = {}, const double* factor = nullptr) {
  const ElementwiseUpdate step = third_step(rule);
  cuda::FloatFactors factors{};
  for (size_t i = 0; i < most_factors; ++i) factors.values[i] = static_cast<float>(step.factors[i]);
  cuda::update(device.stream(), list, step.formula, factors, rounding, factor);
}

// A tensor's arrays as host values, as their types store them. A rule takes as many states as it has.
struct Parts {
  Values weight, gradient;
  std::vector<Values> states;
};
Parts parts_of(int64_t count, const Types& types, uint64_t seed) {
  return {rounded(random_values({count}, seed), types.weight),
          rounded(random_values({count}, seed + 1, 0.1), types.gradient),
          {rounded(random_values({count}, seed + 2, 0.1), types.state),
           rounded(non_negative(random_values({count}, seed + 3, 0.01)), types.state),
           rounded(random_values({count}, seed + 4, 0.1), types.state),
           rounded(random_values({count}, seed + 5, 0.1), types.state)}};
  static_assert(most_states == 4);
}

// Whether a rule's state is float32 whatever the others are.
Element state_element(const Types& types, unsigned wide, size_t state) {
  return (wide >> state & 1U) != 0 ? Element::f32 : types.state;
}
unsigned wide_states_of(const RuleCase& rule) {
  return formula_properties(third_step(rule).formula).wide_states;
}

cuda::UpdateArrays upload(Device& device, const Parts& parts, const Types& types, unsigned wide = 0) {
  cuda::UpdateArrays x{};
  x.weight = device.vector(parts.weight, types.weight);
  x.gradient = device.vector(parts.gradient, types.gradient);
  for (size_t i = 0; i < parts.states.size(); ++i)
    x.states[i] = device.vector(parts.states[i], state_element(types, wide, i));
  x.weight_element = types.weight;
  x.gradient_element = types.gradient;
  x.state_element = types.state;
  x.count = parts.weight.shape[0];
  return x;
}

// Weights and states, `states` of them.
Outputs read(Device& device, const cuda::UpdateArrays& x, size_t states = 2, unsigned wide = 0) {
  const Types types{x.weight_element, x.gradient_element, x.state_element};
  Outputs outputs{device.read(x.weight, x.count, x.weight_element)};
  for (size_t i = 0; i < states; ++i)
    outputs.push_back(device.read(x.states[i], x.count, state_element(types, wide, i)));
  return outputs;
}

// The tensor from element `first` on, as one of its own.
cuda::UpdateArrays tail(const cuda::UpdateArrays& x, int64_t first) {
  const auto at = [&](void* data, Element element) {
    return static_cast<char*>(data) + first * (element == Element::bf16 ? 2 : 4);
  };
  cuda::UpdateArrays part = x;
  part.weight = at(x.weight, x.weight_element);
  part.gradient = at(x.gradient, x.gradient_element);
  for (void*& state : part.states)
    if (state != nullptr) state = at(state, x.state_element);
  part.count = x.count - first;
  part.first_index = x.first_index + static_cast<uint64_t>(first);
  return part;
}

}  // namespace

TEST_CASE("update rules agree with the reference in every mixture of element types", "[cuda]") {
  for (const RuleCase& rule : all_rules_to_test())
    for (const Types& types : all_types())
      for (const int64_t count : {int64_t{0}, int64_t{1}, int64_t{37}, int64_t{9001}}) {
        CAPTURE(rule.rule, static_cast<int>(types.weight), static_cast<int>(types.gradient),
                static_cast<int>(types.state), count);
        const auto states = static_cast<size_t>(states_of(third_step(rule)));
        const unsigned wide = wide_states_of(rule);
        Parts parts = parts_of(count, types, 1);
        parts.states.resize(states);
        const Outputs expected = by_reference([&](Bench& bench) {
          Tensor w = bench.input(parts.weight);
          std::vector<Tensor> of_rule;
          for (const Values& state : parts.states) of_rule.push_back(bench.input(state));
          ElementwiseUpdate step = third_step(rule);
          step.gradient_factor = doubles(bench.ops, {gradient_factor});
          test::update(bench.ops, w, bench.input(parts.gradient), of_rule, step);
          Outputs outputs{bench.read(w)};
          for (const Tensor& state : of_rule) outputs.push_back(bench.read(state));
          return outputs;
        });
        Device device;
        const cuda::UpdateArrays x = upload(device, parts, types, wide);
        update(device, {&x, 1}, rule, {}, device.array(std::vector<double>{gradient_factor}));
        const Outputs found = read(device, x, states, wide);
        CHECK(relative_error(found[0], expected[0]) <= tolerance(types.weight));
        for (size_t i = 1; i < found.size(); ++i)
          CHECK(relative_error(found[i], expected[i]) <= tolerance(state_element(types, wide, i - 1)));
      }
}

TEST_CASE("an update over a list gives each tensor the bits that it gets alone, wherever it starts",
          "[cuda]") {
  const bool of_four_states = GENERATE(false, true);
  const RuleCase rule = of_four_states ? RuleCase{"adan", {}} : adamw;
  const int states = states_of(third_step(rule));
  for (const bool stochastic : {false, true}) {
    const Rounding rounding = stochastic ? stochastic_rounding(5, 3) : Rounding{};
    Device device;
    std::vector<cuda::UpdateArrays> list, alone;
    // Over 64 of one kind in a row, of other kinds between, empty ones, one of several blocks.
    for (int i = 0; i < 150; ++i) {
      const Types types = i % 50 == 7 ? Types{Element::f32, Element::bf16, Element::f32}
                                      : Types{Element::bf16, Element::bf16, Element::bf16};
      const int64_t count = i % 11 == 0 ? 0 : i == 100 ? 9000 : 1 + i % 29;
      const Parts parts = parts_of(count, types, static_cast<uint64_t>(i) * 10);
      list.push_back(upload(device, parts, types));
      alone.push_back(upload(device, parts, types));
      list.back().first_index = alone.back().first_index = static_cast<uint64_t>(i) * 777;
    }
    // Of one tensor, the two halves: neither aligned nor from an even index.
    list.push_back(tail(list[100], 4501));
    list[100].count = 4501;
    update(device, list, rule, rounding);
    list.pop_back();
    list[100].count = 9000;
    for (size_t i = 0; i < alone.size(); ++i) {
      update(device, {&alone[i], 1}, rule, rounding);
      CHECK(read(device, list[i], states) == read(device, alone[i], states));
    }
  }
}

namespace {

constexpr Types all_bf16{Element::bf16, Element::bf16, Element::bf16};
constexpr int64_t draws = 20000;

// One update of `draws` equal elements; each number's mean over them.
Outputs updated(const Rounding& rounding, const Types& types) {
  const auto all = [&](float value) {
    return rounded(Values{{draws}, std::vector<float>(static_cast<size_t>(draws), value)}, Element::bf16);
  };
  Device device;
  const cuda::UpdateArrays x = upload(device, {all(0.7F), all(0.013F), {all(-0.02F), all(3e-4F)}}, types);
  update(device, {&x, 1}, adamw, rounding);
  return read(device, x);
}

double mean(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value);
  return sum / static_cast<double>(values.size());
}

}  // namespace

TEST_CASE("an update's stochastic rounding is to one of the two neighbours, and right in the mean",
          "[cuda]") {
  const Outputs exact = updated({}, {Element::f32, Element::f32, Element::f32});
  const Outputs found = updated(stochastic_rounding(1, 1), all_bf16);
  for (size_t i = 0; i < 3; ++i) {
    CAPTURE(i);
    const auto number = static_cast<double>(exact[i][0]);
    const auto [least, most] = std::minmax_element(found[i].begin(), found[i].end());
    const auto below = static_cast<double>(*least), above = static_cast<double>(*most);
    CHECK(below < number);
    CHECK(number < above);
    const double unit = std::ldexp(1.0, std::ilogb(number) - 7);  // of bfloat16's last place
    CHECK(above - below == unit);
    // Four deviations of the mean of so many draws.
    const double up = (number - below) / unit;
    CHECK(std::abs(mean(found[i]) - number) < 4 * unit * std::sqrt(up * (1 - up) / draws));
    // To nearest, the mean would be off.
    const double nearest = static_cast<double>(rounded({{1}, {exact[i][0]}}, Element::bf16).data[0]);
    CHECK(std::abs(nearest - number) > 8 * unit * std::sqrt(up * (1 - up) / draws));
  }
}

TEST_CASE("an update's stochastic rounding depends on seed, step and index alone", "[cuda]") {
  const Outputs found = updated(stochastic_rounding(1, 1), all_bf16);
  CHECK(updated(stochastic_rounding(1, 1), all_bf16) == found);
  CHECK(updated(stochastic_rounding(2, 1), all_bf16) != found);
  CHECK(updated(stochastic_rounding(1, 2), all_bf16) != found);
  // float32 is not rounded.
  const Types wide{Element::f32, Element::bf16, Element::f32};
  CHECK(updated(stochastic_rounding(1, 1), wide) == updated({}, wide));
  // Weight and states have bits of their own: what is up in one is up or down in another.
  size_t same = 0;
  const auto up = [&](size_t which, size_t i) {
    return static_cast<double>(found[which][i]) > mean(found[which]);
  };
  for (size_t i = 0; i < static_cast<size_t>(draws); ++i) same += up(1, i) == up(2, i);
  double expected = 0;
  for (const bool high : {false, true}) {
    double both = 1;
    for (const size_t which : {size_t{1}, size_t{2}}) {
      size_t count = 0;
      for (size_t i = 0; i < static_cast<size_t>(draws); ++i) count += up(which, i) == high;
      both *= static_cast<double>(count) / draws;
    }
    expected += both;
  }
  CHECK(static_cast<double>(same) / draws == Approx(expected).margin(0.02));
}

TEST_CASE("an update's stochastic rounding keeps infinities and what is not a number", "[cuda]") {
  const float infinite = std::numeric_limits<float>::infinity(),
              nan = std::numeric_limits<float>::quiet_NaN();
  Device device;
  const Parts parts{
      {{3}, {infinite, -infinite, nan}}, {{3}, {0, 0, 0}}, {{{3}, {0, 0, 0}}, {{3}, {1, 1, 1}}}};
  const cuda::UpdateArrays x = upload(device, parts, all_bf16);
  update(device, {&x, 1}, adamw, stochastic_rounding(1, 1));
  const auto w = read(device, x)[0];
  CHECK(w[0] == infinite);
  CHECK(w[1] == -infinite);
  CHECK(std::isnan(w[2]));
}
