#include "optim/parameter_groups.hpp"

#include <algorithm>

#include "base/name_pattern.hpp"

namespace collie {

ParameterGroups::ParameterGroups(const OptimizerConfig& config) {
  const auto add = [&](std::vector<std::string> match, const std::string& rule, const OptionValues& options) {
    groups_.push_back({std::move(match), make_optimizer(rule, options), options.number("lr"), rule});
  };
  for (const OptimizerGroup& group : config.groups)
    add(group.match, rule_of(config, group), options_in_force(config, group));
  add({}, config.name, options_in_force(config));
}

size_t ParameterGroups::index_of(const std::string& parameter) const {
  const auto has = [&](const Group& group) {
    return std::any_of(group.match.begin(), group.match.end(),
                       [&](const std::string& pattern) { return matches_pattern(pattern, parameter); });
  };
  const auto rest = groups_.end() - 1;
  return static_cast<size_t>(std::find_if(groups_.begin(), rest, has) - groups_.begin());
}

size_t ParameterGroups::most_states() const {
  size_t most = 0;
  for (const Group& group : groups_) most = std::max(most, group.optimizer->states().size());
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
