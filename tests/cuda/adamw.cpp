// kernels/cuda's AdamW: mixed element types, lists of tensors, stochastic rounding.
#include "kernels/cuda/ops/adamw.hpp"

#include "kernels/host_data.hpp"
#include "tests/cuda/device.hpp"

using namespace collie;
using namespace collie::test;

namespace {

const AdamWArguments arguments{1e-2, 0.9, 0.95, 1e-8, 0.1, 3, {}, {}};
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

// A tensor's four arrays as host values, as their types store them.
struct Parts {
  Values weight, gradient, exp_avg, exp_avg_sq;
};
Parts parts_of(int64_t count, const Types& types, uint64_t seed) {
  return {rounded(random_values({count}, seed), types.weight),
          rounded(random_values({count}, seed + 1, 0.1), types.gradient),
          rounded(random_values({count}, seed + 2, 0.1), types.state),
          rounded(non_negative(random_values({count}, seed + 3, 0.01)), types.state)};
}

cuda::AdamWArrays upload(Device& device, const Parts& parts, const Types& types) {
  return {device.vector(parts.weight, types.weight),
          device.vector(parts.gradient, types.gradient),
          device.vector(parts.exp_avg, types.state),
          device.vector(parts.exp_avg_sq, types.state),
          nullptr,
          types.weight,
          types.gradient,
          types.state,
          parts.weight.shape[0]};
}

Outputs read(Device& device, const cuda::AdamWArrays& x) {
  return {device.read(x.weight, x.count, x.weight_element), device.read(x.exp_avg, x.count, x.state_element),
          device.read(x.exp_avg_sq, x.count, x.state_element)};
}

// The tensor from element `first` on, as one of its own.
cuda::AdamWArrays tail(const cuda::AdamWArrays& x, int64_t first) {
  const auto at = [&](void* data, Element element) {
    return static_cast<char*>(data) + first * (element == Element::bf16 ? 2 : 4);
  };
  cuda::AdamWArrays part = x;
  part.weight = at(x.weight, x.weight_element);
  part.gradient = at(x.gradient, x.gradient_element);
  part.exp_avg = at(x.exp_avg, x.state_element);
  part.exp_avg_sq = at(x.exp_avg_sq, x.state_element);
  part.count = x.count - first;
  part.first_index = x.first_index + static_cast<uint64_t>(first);
  return part;
}

}  // namespace

TEST_CASE("adamw agrees with the reference in every mixture of element types", "[cuda]") {
  for (const Types& types : all_types())
    for (const int64_t count : {int64_t{0}, int64_t{1}, int64_t{37}, int64_t{9001}}) {
      CAPTURE(static_cast<int>(types.weight), static_cast<int>(types.gradient), static_cast<int>(types.state),
              count);
      const Parts parts = parts_of(count, types, 1);
      const Outputs expected = by_reference([&](Bench& bench) {
        Tensor w = bench.input(parts.weight), m = bench.input(parts.exp_avg),
               v = bench.input(parts.exp_avg_sq);
        AdamWArguments scaled = arguments;
        scaled.gradient_factor = doubles(bench.ops, {gradient_factor});
        adamw(bench.ops, w, bench.input(parts.gradient), m, v, scaled);
        return Outputs{bench.read(w), bench.read(m), bench.read(v)};
      });
      Device device;
      const cuda::AdamWArrays x = upload(device, parts, types);
      cuda::adamw(device.stream(), {&x, 1}, adamw_factors(arguments), {},
                  device.array(std::vector<double>{gradient_factor}));
      const Outputs found = read(device, x);
      CHECK(relative_error(found[0], expected[0]) <= tolerance(types.weight));
      CHECK(relative_error(found[1], expected[1]) <= tolerance(types.state));
      CHECK(relative_error(found[2], expected[2]) <= tolerance(types.state));
    }
}

TEST_CASE("adamw over a list gives each tensor the bits that it gets alone, wherever it starts", "[cuda]") {
  for (const bool stochastic : {false, true}) {
    const Rounding rounding = stochastic ? stochastic_rounding(5, 3) : Rounding{};
    Device device;
    std::vector<cuda::AdamWArrays> list, alone;
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
    cuda::adamw(device.stream(), list, adamw_factors(arguments), rounding);
    list.pop_back();
    list[100].count = 9000;
    for (size_t i = 0; i < alone.size(); ++i) {
      cuda::adamw(device.stream(), {&alone[i], 1}, adamw_factors(arguments), rounding);
      CHECK(read(device, list[i]) == read(device, alone[i]));
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
  const cuda::AdamWArrays x = upload(device, {all(0.7F), all(0.013F), all(-0.02F), all(3e-4F)}, types);
  cuda::adamw(device.stream(), {&x, 1}, adamw_factors(arguments), rounding);
  return read(device, x);
}

double mean(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value);
  return sum / static_cast<double>(values.size());
}

}  // namespace

TEST_CASE("adamw's stochastic rounding is to one of the two neighbours, and right in the mean", "[cuda]") {
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

TEST_CASE("adamw's stochastic rounding depends on seed, step and index alone", "[cuda]") {
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

TEST_CASE("adamw's stochastic rounding keeps infinities and what is not a number", "[cuda]") {
  const float infinite = std::numeric_limits<float>::infinity(),
              nan = std::numeric_limits<float>::quiet_NaN();
  Device device;
  const Parts parts{{{3}, {infinite, -infinite, nan}}, {{3}, {0, 0, 0}}, {{3}, {0, 0, 0}}, {{3}, {1, 1, 1}}};
  const cuda::AdamWArrays x = upload(device, parts, all_bf16);
  cuda::adamw(device.stream(), {&x, 1}, adamw_factors(arguments), stochastic_rounding(1, 1));
  const auto w = read(device, x)[0];
  CHECK(w[0] == infinite);
  CHECK(w[1] == -infinite);
  CHECK(std::isnan(w[2]));
}
