// Which options the optimizers have, and which values of them are in force.
#pragma once

#include <string>

#include "base/option.hpp"
#include "base/registry.hpp"
#include "io/config.hpp"
#include "io/option_check.hpp"
#include "kernels/update_rule.hpp"

namespace collie {

struct OptimizerDeclaration : OptionDeclaration {  // "lr" must be among the options
  KeyDefaults keys = {};
};

// Built in: the rules of kernels/rules/. optim/optimizer.hpp adds those of a host program.
Registry<OptimizerDeclaration>& optimizer_declarations();

// The rule's options: what was given, and the rule's own defaults for the rest.
OptionValues options_in_force(const OptimizerConfig& optimizer);
// The same of a group. A group with the section's rule has the section's values unless it gives its own. A
// group with another rule begins with that rule's defaults, because the same name may mean something else
// there. lr_scale has already multiplied the lr.
OptionValues options_in_force(const OptimizerConfig& optimizer, const OptimizerGroup& group);
const std::string& rule_of(const OptimizerConfig& optimizer, const OptimizerGroup& group);

// Throws UserError if an optimizer is unknown or lacks an option that is given, if a value is not valid, or
// if options contradict each other. `place` makes the beginning of a message about a key.
void check_options(const OptimizerConfig& optimizer, const PlaceOfKey& place);

// Sets optimizer.master, rounding and fused_update, and lr_scheduler.name to what the optimizer makes of them
// (KeyDefaults), unless `given` says of a key ("optimizer.master") that the user has given it. load_config()
// does this; a host program that builds a configuration may do it when it has chosen the optimizer.
void set_key_defaults(Config& config, const std::function<bool(const std::string& key)>& given);

}  // namespace collie
