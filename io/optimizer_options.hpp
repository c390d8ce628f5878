// Which options the optimizers have, and which values of them are in force.
#pragma once

#include <string>

#include "base/option.hpp"
#include "base/registry.hpp"
#include "io/config.hpp"
#include "io/option_check.hpp"

namespace collie {

using OptimizerDeclaration = OptionDeclaration;  // "lr" must be among the options

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

}  // namespace collie
