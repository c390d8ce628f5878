// Which modules of a model peft's keys mean. The messages of its errors name the keys.
#pragma once

#include <string>
#include <vector>

#include "io/config.hpp"
#include "models/model_spec.hpp"
#include "peft/model_modules.hpp"

namespace collie {

class ModuleChoice {
 public:
  // Of the model without its adapters; both must outlive it. Throws UserError where the configuration cannot
  // have adapters at all: a model without weights of its own, or patterns that say what else is trained.
  ModuleChoice(const Config& config, const ModelSpec& model);

  // Where the user said peft.KEY: in the configuration, or in the folder of the adapter in peft.path.
  std::string place(const std::string& key) const;
  const std::vector<ModelModule>& modules() const { return modules_; }
  bool has_name(const std::string& last_part) const;

  // The matrices that the patterns of peft.KEY match, in the blocks of peft.layers_to_transform. Throws
  // UserError for a pattern that matches none, with the names that there are.
  std::vector<ModelModule> matrices(const std::vector<std::string>& patterns, const char* key) const;
  // Every matrix of those blocks.
  std::vector<ModelModule> all_matrices() const;
  // The modules that peft.modules_to_save names. Throws UserError for one that cannot be saved with an
  // adapter, or of which `adapted` has one.
  std::vector<std::string> saved_modules(const ModelSpec& adapted) const;
  // Throws UserError that lists the model's matrices.
  [[noreturn]] void ask_for_targets() const;

 private:
  void check_other_keys() const;
  void check_blocks() const;
  bool is_in_blocks(const ModelModule& module) const;
  void check_match(const std::string& pattern, const char* key) const;
  void check_saved(const std::string& name, const ModelSpec& adapted) const;

  const Config& config_;
  const PeftSection& peft_;
  const ModelSpec& model_;
  std::vector<ModelModule> modules_;
};

}  // namespace collie
