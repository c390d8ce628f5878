// Which parameters are updated by which optimizer: the groups of optimizer.groups, and one for all the rest.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "optim/optimizer.hpp"

namespace collie {

class ParameterGroups {
 public:
  struct Group {
    std::vector<std::string> match;  // globs (fnmatch); empty for the rest
    std::unique_ptr<Optimizer> optimizer;
    double lr = 0;     // at its highest
    std::string rule;  // the optimizer's name
  };

  // Throws UserError if an optimizer is unknown.
  explicit ParameterGroups(const OptimizerConfig& config);

  const std::vector<Group>& all() const { return groups_; }
  // The index of the group that has the parameter of that Hugging Face name: the first that matches.
  size_t index_of(const std::string& parameter) const;
  const Group& of(const std::string& parameter) const { return groups_[index_of(parameter)]; }

  // The updates from one estimate of the curvature to the next, of the optimizer that wants the most; 0: none
  // does.
  int64_t estimate_interval() const;
  // Whether an optimizer wants an estimate of the curvature before the update of that number, from 1.
  bool estimate_due(int64_t update) const;

  // The most states that a parameter of any group has.
  size_t most_states() const;

 private:
  std::vector<Group> groups_;
};

// The same of one optimizer.
bool is_estimate_due(const Optimizer& optimizer, int64_t update);

// Throws UserError if a pattern matches none of the parameters, or if a group has none because earlier groups
// have them all. The messages begin with the key's place.
void check_groups(const OptimizerConfig& config, const ConfigFile& file,
                  const std::vector<std::string>& parameters);

}  // namespace collie
