#include "optim/parameter_groups.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/name_pattern.hpp"
#include "optim/moving_average.hpp"

namespace collie {

namespace {

constexpr const char* weight_decay = "weight_decay";

}  // namespace

ParameterGroups::ParameterGroups(const OptimizerConfig& config)
    : fuses_(config.fused_update), ema_decay_(config.ema_decay) {
  for (const OptimizerGroup& group : config.groups)
    add(group.match, rule_of(config, group), options_in_force(config, group));
  rest_ = groups_.size();
  add({}, config.name, options_in_force(config));
  if (config.decay_norms_and_biases) return;
  for (size_t i = 0; i < rest_; ++i) {
    const OptimizerGroup& group = config.groups[i];
    if (!group.options.has(weight_decay))  // whoever gives it there means all that the group has
      add_without_decay(i, rule_of(config, group), options_in_force(config, group));
  }
  add_without_decay(rest_, config.name, options_in_force(config));
}

void ParameterGroups::add(std::vector<std::string> match, const std::string& rule,
                          const OptionValues& options) {
  const size_t index = groups_.size();
  groups_.push_back({std::move(match), made(rule, options), options.number("lr"), index, rule});
}

std::unique_ptr<Optimizer> ParameterGroups::made(const std::string& rule, const OptionValues& options) const {
  std::unique_ptr<Optimizer> optimizer = make_optimizer(rule, options);
  if (ema_decay_ == 0) return optimizer;
  if (optimizer->average())
    throw UserError(
        "callbacks: ema averages weights, and so does {}, whose averages are evaluated already; one of the "
        "two "
        "is right",
        rule);
  return with_moving_average(std::move(optimizer), ema_decay_);
}

// Nothing is added if the rule has no weight decay, or none is wanted.
void ParameterGroups::add_without_decay(size_t beside, const std::string& rule, OptionValues options) {
  if (!options.has(weight_decay) || !std::holds_alternative<double>(options.at(weight_decay))) return;
  if (options.number(weight_decay) == 0) return;
  options.set(weight_decay, 0.0);
  groups_[beside].of_vectors = groups_.size();
  add({}, rule, options);
}

size_t ParameterGroups::index_of(const std::string& parameter, const Shape& shape) const {
  const auto has = [&](const Group& group) {
    return std::any_of(group.match.begin(), group.match.end(),
                       [&](const std::string& pattern) { return matches_pattern(pattern, parameter); });
  };
  const auto rest = groups_.begin() + static_cast<std::ptrdiff_t>(rest_);
  const auto found = std::find_if(groups_.begin(), rest, has);
  return shape.rank() < 2 ? found->of_vectors : static_cast<size_t>(found - groups_.begin());
}

size_t ParameterGroups::listed_of(size_t group) const {
  if (group <= rest_) return group;
  const auto beside = std::find_if(groups_.begin(), groups_.begin() + static_cast<std::ptrdiff_t>(rest_) + 1,
                                   [&](const Group& other) { return other.of_vectors == group; });
  return static_cast<size_t>(beside - groups_.begin());
}

size_t ParameterGroups::most_states() const {
  size_t most = 0;
  for (const Group& group : groups_) {
    const std::vector<StateDeclaration> states = group.optimizer->states({"a matrix", {1, 1}});
    most =
        std::max(most, static_cast<size_t>(std::count_if(states.begin(), states.end(), [](const auto& state) {
                   return state.shape == StateShape::elements;
                 })));
  }
  return most;
}

bool is_estimate_due(const Optimizer& optimizer, int64_t update) {
  const int64_t interval = optimizer.estimate_interval();
  return interval > 0 && (update - 1) % interval == 0;
}

int64_t ParameterGroups::estimate_interval() const {
  int64_t shortest = 0;
  for (const Group& group : groups_)
    if (const int64_t interval = group.optimizer->estimate_interval(); interval > 0)
      shortest = shortest == 0 ? interval : std::min(shortest, interval);
  return shortest;
}

bool ParameterGroups::estimate_due(int64_t update) const {
  return std::any_of(groups_.begin(), groups_.end(),
                     [&](const Group& group) { return is_estimate_due(*group.optimizer, update); });
}

std::vector<UpdateMemory> ParameterGroups::memory() const {
  std::vector<UpdateMemory> all;
  for (const Group& group : groups_) all.push_back(group.optimizer->memory());
  return all;
}

void ParameterGroups::remember(std::vector<UpdateMemory>& memory, double lr_factor, int64_t step) const {
  COLLIE_ASSERT(memory.size() == groups_.size(), "{} groups are remembered, there are {}", memory.size(),
                groups_.size());
  for (size_t i = 0; i < groups_.size(); ++i)
    groups_[i].optimizer->remember(memory[i], groups_[i].lr * lr_factor, step);
}

bool ParameterGroups::has_averages() const {
  return std::any_of(groups_.begin(), groups_.end(),
                     [](const Group& group) { return group.optimizer->average().has_value(); });
}

void check_groups(const OptimizerConfig& config, const ConfigFile& file,
                  const std::vector<std::string>& parameters) {
  std::vector<std::string> left = parameters;
  for (size_t i = 0; i < config.groups.size(); ++i) {
    const std::string place = file.place(fmt::format("optimizer.groups.{}.match", i));
    size_t taken = 0;
    for (const std::string& pattern : config.groups[i].match) {
      check_pattern_matches(pattern, parameters, place);
      taken += std::erase_if(left, [&](const std::string& name) { return matches_pattern(pattern, name); });
    }
    if (taken == 0)
      throw UserError(
          "{}: all parameters that match are in earlier groups; a group with parameters of its own is "
          "wanted",
          place);
  }
}

}  // namespace collie
