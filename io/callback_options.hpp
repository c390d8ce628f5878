// Which options the callbacks have, and which values of them are in force. What a callback does is in
// runtime/callback.hpp.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/option.hpp"
#include "base/registry.hpp"
#include "io/config.hpp"
#include "io/option_check.hpp"

namespace collie {

struct CallbackDeclaration : OptionDeclaration {
  // What the rest of a run's configuration must have for it, given its options: the path of a key, and what
  // is wrong with it. ("", "") if all is well.
  std::function<std::pair<std::string, std::string>(const OptionValues& in_force, const Config& config)>
      needs = {};
  std::vector<std::string> metric_options = {};  // options that name a number of an evaluation
  // What it is for the rest of the configuration (complete_with_callbacks()).
  std::function<void(const OptionValues& in_force, Config& config)> complete = {};
  bool final_is_best = false;  // final/ gets the weights of the best checkpoint, not the last one's
};

// Built in: early_stopping, ema, load_best, non_finite_guard, spike_guard, time_limit. runtime/callback.hpp
// adds those of a host program.
Registry<CallbackDeclaration>& callback_declarations();

// Its options: what was given, and its own defaults for the rest. Throws UserError if there is no such
// callback.
OptionValues options_in_force(const CallbackConfig& callback);

// Lets the callbacks complete the rest of the configuration, of those that are known.
void complete_with_callbacks(Config& config);

// Whether a callback of the run declares it.
bool final_is_best(const Config& config);

// Throws UserError if a callback is unknown or lacks an option that is given, if a value is not valid, if
// options contradict each other, or if the rest of the configuration does not go with one.
void check_callbacks(const Config& config, const PlaceOfKey& place);

}  // namespace collie
