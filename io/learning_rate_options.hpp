// Which options the learning-rate schedules have, and which values of them are in force. What a schedule
// makes of them is in optim/learning_rate.hpp.
#pragma once

#include "base/option.hpp"
#include "base/registry.hpp"
#include "io/config.hpp"
#include "io/option_check.hpp"

namespace collie {

// Built in: constant, linear, cosine, cosine_with_restarts, polynomial, inverse_sqrt, one_cycle,
// warmup_stable_decay, step. optim/optimizer.hpp adds those of a host program.
Registry<OptionDeclaration>& learning_rate_declarations();

// Of a warm-up: warmup_steps, or warmup_ratio. Those of a host program may have them, too (steps_of_warmup()
// in optim/learning_rate.hpp reads them).
std::vector<Option> warmup_options();

// The schedule's options: what was given, and the schedule's own defaults for the rest. Throws UserError if
// there is no such schedule.
OptionValues options_in_force(const LearningRateConfig& schedule);

// Throws UserError if the schedule is unknown or lacks an option that is given, if a value is not valid, or
// if options contradict each other.
void check_options(const LearningRateConfig& schedule, const PlaceOfKey& place);

}  // namespace collie
