// AdamW with states of 8 bits against bitsandbytes' (tests/golden/make_eight_bit_golden.py), and which blocks
// ranks hold.
#include <cmath>
#include <fstream>

#include "base/divide.hpp"
#include "base/error.hpp"
#include "models/pieces.hpp"
#include "optim/state_blocks.hpp"
#include "tests/catch.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;
using nlohmann::json;

namespace {

// As the golden's script has them.
std::vector<float> sines_of(int64_t count, double phase, bool uneven) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) {
    const double x = std::sin(0.7 * static_cast<double>(i) + 1.3 * phase + 0.1);
    values.push_back(static_cast<float>(uneven ? std::ldexp(x, static_cast<int>(i * 5 % 9) - 4) : x));
  }
  return values;
}

// One tensor with its states.
struct Trained {
  Operations& operations;
  std::string name;
  Tensor weight, gradient;
  std::vector<Tensor> states;

  Trained(Operations& ops, const Optimizer& optimizer, std::string of, int64_t numel)
      : operations(ops), name(std::move(of)) {
    weight = ops.empty({numel}, Category::weights);
    gradient = ops.empty({numel}, Category::gradients);
    std::vector<float> values = sines_of(numel, static_cast<double>(name.size()), false);
    for (float& value : values) value = static_cast<float>(0.1 * static_cast<double>(value));
    ops.upload(values, weight);
    for (const StateDeclaration& state : optimizer.states({name, {numel}})) {
      states.push_back(ops.empty({held_numel(state, numel)},
                                 state.codes ? DType::u8 : ops.accumulation_dtype(), Category::optimizer));
      ops.fill(states.back(), state.initial);
    }
  }

  void step(Optimizer& optimizer, double lr, int64_t count) {
    const auto phase = static_cast<double>(count + 17 * static_cast<int64_t>(name.size()));
    operations.upload(sines_of(weight.numel(), phase, true), gradient);
    ParameterRange range{name, weight, gradient, states, {}};
    optimizer.update(operations, {&range, 1}, {lr, count, {}, {}});
  }

  std::vector<double> read(const Tensor& x) const {
    std::vector<float> values(static_cast<size_t>(x.numel()));
    operations.download(x, values);
    return {values.begin(), values.end()};
  }
};

std::vector<double> codes_of(const std::string& hex) {
  std::vector<double> codes;
  for (size_t i = 0; i < hex.size(); i += 2) codes.push_back(std::stoi(hex.substr(i, 2), nullptr, 16));
  return codes;
}

// How many codes differ; infinitely many if one does by more than 1.
double differing(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double count = 0;
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i]) count += std::abs(a[i] - b[i]) == 1 ? 1 : INFINITY;
  return count;
}

json eight_bit_golden() {
  return json::parse(std::ifstream(std::string(COLLIE_SOURCE_DIR) + "/tests/golden/eight_bit.json"));
}

std::unique_ptr<Optimizer> eight_bit(int64_t least_numel) {
  return make_optimizer(
      "adamw_8bit",
      {{"betas", std::vector<double>{0.9, 0.95}}, {"weight_decay", 0.1}, {"min_8bit_size", least_numel}});
}

// What check_blocks() says of a stage of these parameters; "" if it throws nothing.
std::string complaint_about_blocks(std::vector<Parameter> parameters, int ranks, int zero_stage,
                                   const OptionValues& options = {{"min_8bit_size", int64_t{0}}}) {
  OptimizerConfig config;
  config.name = "adamw_8bit";
  config.options = options;
  try {
    check_blocks(parameters, {0, 1, false, false}, {0, ranks, zero_stage}, ParameterGroups(config),
                 "optimizer.name");
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

Parameter half_of(const Shape& shape, int axis, int64_t part) {
  Parameter parameter = whole_tensor("w", shape);
  keep_part(parameter, axis, part, 2);
  return parameter;
}

bool has_part(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("maps of 8-bit codes have bitsandbytes' bits", "[golden]") {
  const json maps = eight_bit_golden().at("maps");
  for (size_t i = 0; i < 2; ++i)
    for (size_t code = 0; code < map_size; ++code) {
      CHECK(dynamic_map(quantised_with_signs[i]).values[code] == maps[i][code].get<float>());
    }
}

TEST_CASE("adamw_8bit has bitsandbytes' codes after a step, and its weights after 50", "[golden]") {
  const std::string device = GENERATE(from_range(all_devices));
  const json all = eight_bit_golden();
  const auto steps = all.at("steps").get<int64_t>();
  const auto optimizer = eight_bit(0);
  double codes = 0, wrong = 0;
  for (const auto& [name, dims] : all.at("shapes").items()) {
    CAPTURE(device, name);
    const auto owner = make_operations(device);
    const int64_t numel = Shape::from(dims.get<std::vector<int64_t>>()).numel();
    Trained tensor(*owner.operations, *optimizer, name, numel);
    const json& expected = all.at("tensors").at(name);
    for (int64_t step = 1; step <= steps; ++step) {
      const double share = static_cast<double>(step) / static_cast<double>(steps);
      tensor.step(*optimizer, all.at("lr").get<double>() * (0.2 + 0.8 * share), step);
      if (step > 1) continue;
      for (size_t i = 0; i < 2; ++i) {
        codes += static_cast<double>(numel);
        wrong += differing(tensor.read(tensor.states[i]), codes_of(expected.at("codes")[i]));
        CHECK(relative_error(tensor.read(tensor.states[2 + i]),
                             expected.at("absmax")[i].get<std::vector<double>>()) < 5e-7);
      }
    }
    CHECK(relative_error(tensor.read(tensor.weight), expected.at("last").get<std::vector<double>>()) < 1e-3);
  }
  CHECK(wrong <= 1e-3 * codes);
}

TEST_CASE("small tensors keep states of 32 bits, and the names say which", "[quantised]") {
  const auto optimizer = eight_bit(4096);
  const auto names = [&](const Shape& shape) {
    std::vector<std::string> all;
    for (const StateDeclaration& state : optimizer->states({"w", shape})) all.push_back(state.name);
    return all;
  };
  CHECK(names({4095}) == std::vector<std::string>{"exp_avg", "exp_avg_sq"});
  CHECK(names({64, 64}) ==
        std::vector<std::string>{"exp_avg_codes", "exp_avg_sq_codes", "exp_avg_absmax", "exp_avg_sq_absmax"});
  CHECK(shape_of_blocks({64, 512}, false) == Shape{64, 2});
  CHECK(shape_of_blocks({512, 64}, true) == Shape{64, 2});
  CHECK(shape_of_blocks({512, 63}, false) == Shape{126});
  CHECK(shape_of_blocks({300}, false) == Shape{2});
  // A small tensor is AdamW's to the bit.
  const auto owner = make_operations("cpu");
  const auto adamw =
      make_optimizer("adamw", {{"betas", std::vector<double>{0.9, 0.95}}, {"weight_decay", 0.1}});
  Trained quantised(*owner.operations, *optimizer, "w", 300), plain(*owner.operations, *adamw, "w", 300);
  for (int64_t step = 1; step <= 5; ++step) {
    quantised.step(*optimizer, 1e-2, step);
    plain.step(*adamw, 1e-2, step);
  }
  CHECK(quantised.read(quantised.weight) == plain.read(plain.weight));
}

TEST_CASE("a rank must have whole blocks of 8-bit states", "[quantised]") {
  const Shape odd{96, 40}, blocks{6, 512};
  CHECK(complaint_about_blocks({whole_tensor("w", odd)}, 1, 0) == "");
  CHECK(complaint_about_blocks({half_of(blocks, 0, 1)}, 1, 0) == "");
  CHECK(complaint_about_blocks({half_of(blocks, 1, 1)}, 1, 0) == "");
  CHECK(complaint_about_blocks({half_of({512, 40}, 0, 1)}, 1, 0) == "");  // 256 · 40 elements
  const std::string rows = complaint_about_blocks({half_of(odd, 0, 0)}, 1, 0);
  CHECK(has_part(rows, "optimizer.name"));
  CHECK(has_part(rows, "'w' [96, 40]"));
  CHECK(has_part(rows, "elements 0 to 1919 of its 3840"));
  CHECK(has_part(rows, "min_8bit_size above 3840"));
  CHECK(has_part(complaint_about_blocks({half_of({6, 768}, 1, 0)}, 1, 0),
                 "384 of the 768 elements of each row"));
  CHECK(complaint_about_blocks({half_of({6, 768}, 1, 0)}, 1, 0, {{"min_8bit_size", int64_t{4609}}}) == "");
  Parameter frozen = half_of(odd, 0, 0);
  frozen.trainable = false;
  CHECK(complaint_about_blocks({frozen}, 1, 0) == "");
}

TEST_CASE("ZeRO cuts no block but in a packed parameter whose pieces begin within one", "[quantised]") {
  CHECK(complaint_about_blocks({whole_tensor("w", {300, 41}), whole_tensor("v", {100})}, 2, 1) == "");
  const auto packed = [](int64_t first_rows) {
    return stacked("qkv", {whole_tensor("q", {first_rows, 40}), whole_tensor("k", {300, 40})});
  };
  CHECK(complaint_about_blocks({packed(250)}, 2, 0) == "");
  CHECK(complaint_about_blocks({packed(256)}, 2, 1) == "");
  CHECK(has_part(complaint_about_blocks({packed(250)}, 2, 1), "of 'k' [300, 40] a rank would have elements"));
}

TEST_CASE("maxima of a part are found where the tensor has them", "[quantised]") {
  const StateDeclaration absmax{.name = "exp_avg_absmax", .shape = StateShape::blocks};
  const auto rectangle = [&](const Parameter& parameter, int64_t begin, int64_t numel) {
    const StatePlace place = place_of_state(absmax, parameter, {0, begin, numel, 0});
    std::vector<std::vector<int64_t>> found;
    for_each_rectangle(place.of, place.begin, place.begin + held_numel(absmax, numel),
                       [&](const TensorRectangle& each) {
                         found.push_back(each.piece.tensor_shape.to_vector());
                         found.push_back(each.offsets);
                         found.push_back(each.shape.to_vector());
                       });
    return found;
  };
  using Found = std::vector<std::vector<int64_t>>;
  // The right half of rows 1 and 2.
  CHECK(rectangle(half_of({6, 1024}, 1, 1), 512, 1024) == Found{{6, 4}, {1, 2}, {2, 2}});
  // A part of a row.
  CHECK(rectangle(half_of({6, 1024}, 0, 1), 256, 512) == Found{{6, 4}, {3, 1}, {1, 2}});
  // The second half of a flattened tensor, whose last block is short.
  CHECK(rectangle(whole_tensor("w", {30, 41}), 512, 718) == Found{{5}, {2}, {3}});
  // Transposed: the blocks are those of the columns.
  CHECK(rectangle(part_of_tensor("w", {512, 64}, 32, 32, true), 0, 16384) ==
        Found{{64, 2}, {32, 0}, {32, 2}});
}
