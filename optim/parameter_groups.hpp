// Which parameters are updated by which optimizer: the groups of optimizer.groups, and one for all the rest.
// Where weight decay is for matrices alone, vectors have a group of their own beside each of these.
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
    double lr = 0;          // at its highest
    size_t of_vectors = 0;  // the index of the group that has those of its parameters that are vectors
    std::string rule;       // the optimizer's name
  };

  // Throws UserError if an optimizer is unknown, or if averages of weights are wanted of one that makes its
  // own.
  explicit ParameterGroups(const OptimizerConfig& config);

  // The groups of optimizer.groups, the rest, then those of vectors.
  const std::vector<Group>& all() const { return groups_; }
  // The index of the group that has a parameter of that Hugging Face name and shape: the first that matches
  // the name, or that one's vectors. A vector has fewer than two dimensions.
  size_t index_of(const std::string& parameter, const Shape& shape) const;
  const Group& of(const std::string& parameter, const Shape& shape) const {
    return groups_[index_of(parameter, shape)];
  }

  // How many groups optimizer.groups has, and which of them a group of all() belongs to, with its vectors.
  // listed() stands for the rest.
  size_t listed() const { return rest_; }
  size_t listed_of(size_t group) const;

  // Whether updates are made inside backward (optimizer.fused_update).
  bool fuses() const { return fuses_; }
  // The updates from one estimate of the curvature to the next, of the optimizer that wants the most; 0: none
  // does.
  int64_t estimate_interval() const;
  // Whether an optimizer wants an estimate of the curvature before the update of that number, from 1.
  bool estimate_due(int64_t update) const;

  // The most states of a parameter's own shape that one of any group has.
  size_t most_states() const;

  // What each group remembers before the first update, and what update `step` adds to that, with lr_factor of
  // each group's lr.
  std::vector<UpdateMemory> memory() const;
  void remember(std::vector<UpdateMemory>& memory, double lr_factor, int64_t step) const;
  bool has_averages() const;

 private:
  void add(std::vector<std::string> match, const std::string& rule, const OptionValues& options);
  std::unique_ptr<Optimizer> made(const std::string& rule, const OptionValues& options) const;
  void add_without_decay(size_t beside, const std::string& rule, OptionValues options);

  std::vector<Group> groups_;
  bool fuses_ = false;
  double ema_decay_ = 0;
  size_t rest_ = 0;  // the index of the group that has what no pattern matches
};

// The same of one optimizer.
bool is_estimate_due(const Optimizer& optimizer, int64_t update);

// Throws UserError if a pattern matches none of the parameters, or if a group has none because earlier groups
// have them all. The messages begin with the key's place.
void check_groups(const OptimizerConfig& config, const ConfigFile& file,
                  const std::vector<std::string>& parameters);

}  // namespace collie
