// --run DIR and --checkpoint STEP|best|last, which several commands share.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "io/checkpoint_choice.hpp"
#include "io/config.hpp"

namespace collie {

struct RunOptionValues {
  std::string run;         // a run's folder; empty: not given
  std::string checkpoint;  // as it was given; empty: not given
};

// Adds --run and --checkpoint to a command that else has --model.
void add_run_options(CLI::App& command, RunOptionValues& values);

// Adds --adapter [NAME=]DIR[@SCALE], which may be given again (peft/adapter_choice.hpp).
CLI::Option* add_adapter_option(CLI::App& command, std::vector<std::string>& adapters);

// Which checkpoint of the run in --run is meant: the newest unless --checkpoint says otherwise. Throws
// UserError.
CheckpointChoice choice_of(const RunOptionValues& values);

// The configuration of the run in `folder`, on one rank, with `settings` laid over it. Throws UserError if
// there is no run.
Config config_of_run(const std::string& folder, const std::vector<std::string>& settings);

}  // namespace collie
