#include <cmath>

#include "optim/parameter_groups.hpp"
#include "tests/catch.hpp"
#include "tests/models/messages.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;

TEST_CASE("AdamW follows its formula over flat ranges", "[adamw]") {
  const std::string device = GENERATE(from_range(all_devices));
  CAPTURE(device);
  const auto owner = make_operations(device);
  Operations& operations = *owner.operations;
  const auto optimizer = make_optimizer(
      "adamw", {{"betas", std::vector<double>{0.8, 0.9}}, {"eps", 1e-6}, {"weight_decay", 0.3}});
  REQUIRE(optimizer->states({"w", {2, 2}}) ==
          std::vector<StateDeclaration>{{"exp_avg", 0}, {"exp_avg_sq", 0}});
  constexpr int64_t numel = 37, cut = 13;  // the second part is another shard of the same parameter
  Tensor weight = random_tensor(operations, {numel}, "w"), m = operations.empty({numel}, Category::optimizer);
  Tensor v = operations.empty({numel}, Category::optimizer);
  operations.fill(m, 0);
  operations.fill(v, 0);
  std::vector<float> start = values(operations, weight);
  std::vector<double> w(start.begin(), start.end()), em(numel, 0.0), ev(numel, 0.0);
  const std::string name = "a";
  for (int64_t step = 1; step <= 3; ++step) {
    const double lr = 0.01 * static_cast<double>(step), scale = 0.5;
    Tensor factor = operations.empty({1}, DType::f64, Category::workspace);
    operations.fill(factor, scale);
    const Tensor gradient = random_tensor(operations, {numel}, fmt::format("g{}", step));
    const std::vector<float> g = values(operations, gradient);
    for (const auto& [begin, end] : {std::pair{int64_t{0}, cut}, std::pair{cut, numel}}) {
      ParameterRange range{name,
                           weight.rows(begin, end),
                           gradient.rows(begin, end),
                           {m.rows(begin, end), v.rows(begin, end)},
                           {}};
      optimizer->update(operations, {&range, 1}, {lr, step, factor, {}});
    }
    for (size_t i = 0; i < numel; ++i) {
      const double gi = scale * static_cast<double>(g[i]), t = static_cast<double>(step);
      w[i] *= 1 - lr * 0.3;
      em[i] = 0.8 * em[i] + 0.2 * gi;
      ev[i] = 0.9 * ev[i] + 0.1 * gi * gi;
      w[i] -=
          lr / (1 - std::pow(0.8, t)) * em[i] / (std::sqrt(ev[i]) / std::sqrt(1 - std::pow(0.9, t)) + 1e-6);
    }
  }
  const double tolerance = device == "reference" ? 1e-7 : 1e-6;  // values() rounds to float
  CHECK(relative_error(values(operations, weight), w) < tolerance);
  CHECK(relative_error(values(operations, m), em) < tolerance);
  CHECK(relative_error(values(operations, v), ev) < tolerance);
}

TEST_CASE("a host program's optimizer has options and states of its own", "[registry]") {
  check_says(message_of([] { make_optimizer("adam_w", {}); }), {"optimizer.name", "adam_w", "adamw"});
  struct Nothing final : Optimizer {
    explicit Nothing(double from) : begins(from) {}
    std::vector<StateDeclaration> states(const NamedTensor&) const override { return {{"trace", begins}}; }
    void update(Operations&, std::span<ParameterRange>, const UpdateArguments&) override {}
    double begins;
  };
  OptimizerDeclaration declaration;
  declaration.options = {learning_rate_option(0.5), {"start", 1.0, "of the trace", NumberRange::above(0)}};
  add_optimizer("nothing", declaration, [](const OptionValues& options) {
    return std::make_unique<Nothing>(options.number("start"));
  });
  CHECK(make_optimizer("nothing", {})->states({"w", {2, 2}}) == std::vector<StateDeclaration>{{"trace", 1}});
  OptimizerConfig config;
  config.name = "nothing";
  config.options = {{"start", 3.0}};
  CHECK(ParameterGroups(config).all()[0].optimizer->states({"w", {2, 2}}) ==
        std::vector<StateDeclaration>{{"trace", 3}});
  CHECK(ParameterGroups(config).all()[0].lr == 0.5);
  const auto place = [](const std::string& key) { return key; };
  config.options = {{"start", 0.0}};
  check_says(message_of([&] { check_options(config, place); }), {"optimizer.start", "0", "above 0"});
  config.options = {{"begin", 1.0}};
  check_says(message_of([&] { check_options(config, place); }), {"optimizer.begin", "nothing", "lr, start"});
  config.options = {{"start", true}};
  check_says(message_of([&] { check_options(config, place); }), {"optimizer.start", "type"});
}

namespace {

OptimizerGroup group_of(std::vector<std::string> match, const std::string& name,
                        const OptionValues& options) {
  return {std::move(match), name, options};
}

// Host programs build them like this.
OptimizerConfig three_groups() {
  OptimizerConfig config;
  config.options = {{"lr", 0.5}, {"weight_decay", 0.25}};
  config.groups = {group_of({"*norm*", "*bias"}, "", {{"weight_decay", 0.0}}),
                   group_of({"model.layers.[01].*"}, "", {{"lr_scale", 0.5}}),
                   group_of({"lm_head.weight"}, "", {{"lr", 0.125}})};
  return config;
}

}  // namespace

TEST_CASE("a parameter is in the first group that matches it, or in the rest", "[groups]") {
  OptimizerConfig config = three_groups();
  config.decay_norms_and_biases = GENERATE(false, true);
  const Shape vector{8}, matrix{8, 4};
  const ParameterGroups groups(config);
  REQUIRE(groups.all().size() == (config.decay_norms_and_biases ? 4 : 7));
  CHECK(groups.index_of("model.norm.weight", vector) == 0);
  CHECK(groups.index_of("model.layers.0.input_layernorm.weight", vector) == 0);
  CHECK(groups.index_of("model.layers.1.mlp.up_proj.weight", matrix) == 1);
  CHECK(groups.index_of("model.layers.2.mlp.up_proj.weight", matrix) == 3);
  CHECK(groups.index_of("lm_head.weight", matrix) == 2);
  CHECK(groups.of("model.norm.weight", vector).lr == 0.5);
  CHECK(groups.of("model.layers.1.mlp.up_proj.weight", matrix).lr == 0.25);
  CHECK(groups.of("lm_head.weight", matrix).lr == 0.125);
  CHECK(groups.of("model.layers.2.mlp.up_proj.weight", matrix).lr == 0.5);
}

namespace {

// What a step without a gradient leaves of a parameter's weights: 1 - lr * weight_decay, where that covers
// it.
double kept_by_decay(const OptimizerConfig& config, const std::string& parameter, const Shape& shape) {
  const auto owner = make_operations("reference");
  Operations& operations = *owner.operations;
  const ParameterGroups groups(config);
  const ParameterGroups::Group& group = groups.of(parameter, shape);
  const auto filled = [&](double value) {
    Tensor x = operations.empty({3}, Category::workspace);
    operations.fill(x, value);
    return x;
  };
  Tensor weight = filled(1), factor = operations.empty({1}, DType::f64, Category::workspace);
  operations.fill(factor, 1);
  Optimizer* const optimizer = group.optimizer.get();
  std::vector<Tensor> states;
  for (const StateDeclaration& state : optimizer->states({"a tensor", {1}}))
    states.push_back(filled(state.initial));
  ParameterRange range{parameter, weight, filled(0), states, {}};
  optimizer->update(operations, {&range, 1}, {group.lr, 1, factor, {}});
  return static_cast<double>(values(operations, weight).front());
}

}  // namespace

TEST_CASE("weight decay covers matrices, and what a group gives it to", "[groups]") {
  const Shape vector{8}, matrix{8, 4};
  OptimizerConfig config;
  config.options = {{"lr", 0.5}, {"weight_decay", 0.25}};
  config.groups = {group_of({"*input_layernorm*"}, "", {{"weight_decay", 0.25}}),
                   group_of({"model.layers.0.*"}, "", {{"lr_scale", 0.5}}),
                   group_of({"model.layers.1.*"}, "lion", {{"lr", 0.25}, {"weight_decay", 0.5}}),
                   group_of({"model.layers.2.mlp.*"}, "", {{"weight_decay", 0.0}})};
  const auto kept = [&](const std::string& name, const Shape& shape) {
    return Approx(kept_by_decay(config, name, shape)).epsilon(1e-6);
  };
  CHECK(0.875 == kept("lm_head.weight", matrix));
  CHECK(1.0 == kept("model.norm.weight", vector));
  CHECK(1.0 == kept("model.layers.3.mlp.up_proj.bias", vector));
  CHECK(0.875 == kept("model.layers.0.input_layernorm.weight", vector));  // the group gives it
  CHECK(0.9375 == kept("model.layers.0.mlp.up_proj.weight", matrix));
  CHECK(1.0 == kept("model.layers.0.mlp.up_proj.bias", vector));
  CHECK(0.875 == kept("model.layers.1.mlp.up_proj.weight", matrix));
  CHECK(0.875 == kept("model.layers.1.mlp.up_proj.bias", vector));  // the group gives it
  CHECK(1.0 == kept("model.layers.2.mlp.up_proj.weight", matrix));
  config.decay_norms_and_biases = true;
  CHECK(0.875 == kept("model.norm.weight", vector));
  CHECK(0.9375 == kept("model.layers.0.mlp.up_proj.bias", vector));
  CHECK(1.0 == kept("model.layers.2.mlp.up_proj.bias", vector));
}

TEST_CASE("vectors have a group of their own only where weight decay would reach them", "[groups]") {
  OptimizerConfig config;
  config.options = {{"weight_decay", 0.0}};
  CHECK(ParameterGroups(config).all().size() == 1);
  config.options = {};
  CHECK(ParameterGroups(config).all().size() == 2);
  config.name = "sgd";  // without weight decay unless it is asked for
  CHECK(ParameterGroups(config).all().size() == 1);
  OptimizerDeclaration declaration;
  declaration.options = {learning_rate_option(2)};
  add_optimizer("without_decay", declaration,
                [](const OptionValues&) { return std::unique_ptr<Optimizer>(); });
  config.name = "without_decay";
  CHECK(ParameterGroups(config).all().size() == 1);
}

TEST_CASE("a group that gives weight decay is another than one that has the same by default",
          "[groups][config]") {
  Config given;
  given.optimizer.groups = {group_of({"*norm*"}, "", {{"weight_decay", 0.1}})};
  Config not_given;
  not_given.optimizer.groups = {group_of({"*norm*"}, "", {})};
  CHECK(fingerprint(given) != fingerprint(not_given));
  given.optimizer.decay_norms_and_biases = not_given.optimizer.decay_norms_and_biases = true;
  CHECK(fingerprint(given) == fingerprint(not_given));
}

TEST_CASE("a group has the section's options unless its rule is another", "[groups]") {
  const OptimizerConfig config = three_groups();
  CHECK(options_in_force(config, config.groups[0]).number("weight_decay") == 0);
  CHECK(options_in_force(config, config.groups[1]).number("weight_decay") == 0.25);
  OptimizerDeclaration declaration;
  declaration.options = {learning_rate_option(2), weight_decay_option(1, "")};
  add_optimizer("another", declaration, [](const OptionValues&) { return std::unique_ptr<Optimizer>(); });
  const OptionValues other = options_in_force(config, group_of({"x"}, "another", {{"lr_scale", 0.25}}));
  CHECK(other.number("lr") == 0.5);
  CHECK(other.number("weight_decay") == 1);
}

TEST_CASE("a pattern that matches nothing, and a group that gets nothing, are refused", "[groups]") {
  const std::vector<std::string> names{"model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight",
                                       "model.norm.weight"};
  OptimizerConfig config;
  ConfigFile file;
  file.places["optimizer.groups.1.match"] = "c.yaml:7: optimizer.groups.1.match";
  config.groups = {group_of({"*norm*"}, "", {}), group_of({"model.layers.0.self_atn.q_proj.weight"}, "", {})};
  check_says(message_of([&] { check_groups(config, file, names); }),
             {"c.yaml:7: optimizer.groups.1.match", "self_atn", "no parameter",
              "model.layers.0.self_attn.q_proj.weight"});
  config.groups[1].match = {"lm_head*"};
  check_says(message_of([&] { check_groups(config, file, names); }),
             {"lm_head*", "model.embed_tokens.weight"});
  config.groups[1].match = {"model.norm.*"};
  check_says(message_of([&] { check_groups(config, file, names); }), {"groups.1.match", "earlier groups"});
  config.groups[1].match = {"model.*"};
  CHECK_NOTHROW(check_groups(config, file, names));
}
