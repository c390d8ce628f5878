#include "optim/parameter_groups.hpp"

#include <fmt/ranges.h>
#include <fnmatch.h>

#include <algorithm>

#include "base/nearest_name.hpp"

namespace collie {
namespace {

bool matches(const std::string& pattern, const std::string& name) {
  return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

std::string advice(const std::string& pattern, const std::vector<std::string>& parameters) {
  if (const auto nearest = nearest_name(pattern, parameters))
    return fmt::format("the nearest name is {}", *nearest);
  constexpr size_t most = 5;
  const auto end = parameters.begin() + static_cast<std::ptrdiff_t>(std::min(most, parameters.size()));
  return fmt::format("there are {}{}", fmt::join(parameters.begin(), end, ", "),
                     parameters.size() > most ? ", ..." : "");
}

}  // namespace

ParameterGroups::ParameterGroups(const OptimizerConfig& config) {
  const auto add = [&](std::vector<std::string> match, const std::string& rule, const OptionValues& options) {
    groups_.push_back({std::move(match), make_optimizer(rule, options), options.number("lr")});
  };
  for (const OptimizerGroup& group : config.groups)
    add(group.match, rule_of(config, group), options_in_force(config, group));
  add({}, config.name, options_in_force(config));
}

size_t ParameterGroups::index_of(const std::string& parameter) const {
  const auto has = [&](const Group& group) {
    return std::any_of(group.match.begin(), group.match.end(),
                       [&](const std::string& pattern) { return matches(pattern, parameter); });
  };
  const auto rest = groups_.end() - 1;
  return static_cast<size_t>(std::find_if(groups_.begin(), rest, has) - groups_.begin());
}

size_t ParameterGroups::most_states() const {
  size_t most = 0;
  for (const Group& group : groups_) most = std::max(most, group.optimizer->states().size());
  return most;
}

void check_groups(const OptimizerConfig& config, const ConfigFile& file,
                  const std::vector<std::string>& parameters) {
  std::vector<std::string> left = parameters;
  for (size_t i = 0; i < config.groups.size(); ++i) {
    const std::string place = file.place(fmt::format("optimizer.groups.{}.match", i));
    size_t taken = 0;
    for (const std::string& pattern : config.groups[i].match) {
      const auto here = [&](const std::string& name) { return matches(pattern, name); };
      if (std::none_of(parameters.begin(), parameters.end(), here))
        throw UserError("{}: '{}' matches no parameter of the model; {}", place, shortened(pattern),
                        advice(pattern, parameters));
      taken += std::erase_if(left, here);
    }
    if (taken == 0)
      throw UserError(
          "{}: all parameters that match are in earlier groups; a group with parameters of its own is "
          "wanted",
          place);
  }
}

}  // namespace collie
