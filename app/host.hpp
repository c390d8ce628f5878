// The command is a host of the engine: it has an actor system, runs one run in it, and handles Ctrl-C.
#pragma once

#include <functional>

#include "actors/cluster.hpp"
#include "actors/engine.hpp"
#include "actors/launch.hpp"

namespace collie {

struct RunHandlers {
  std::function<void(const RunStarted&)> started = [](const RunStarted&) {};
  std::function<void(const EvaluationFinished&)> evaluated = [](const EvaluationFinished&) {};
  std::function<void(const CheckpointSaved&)> saved = [](const CheckpointSaved&) {};
  std::function<void(const TokenGenerated&)> generated = [](const TokenGenerated&) {};
};

// Runs `plan` to its end. The first signal that ends a process (app/signals.hpp) asks the run to stop
// (RunStatus::interrupted). SIGUSR1 asks a training run for a checkpoint. The message of a failure goes to
// the log. `launch` is set if the ranks are in several processes that were started together; this process
// must then be process 0.
RunEnded run_to_end(RunPlan plan, const RunHandlers& handlers, const std::optional<Launch>& launch = {});

// Runs any other process of such a launch; returns the exit code.
int join_run(const Launch& launch, const ClusterSection& cluster);

// Returns the result of main(); it is the last call there. If there were other processes it exits and does
// not return, because CAF may not end.
int ended(int exit_code);

// Listens as a node until a signal ends the process, with exit code 0. It ends at once if it holds no ranks.
// Otherwise it asks their run to stop with a checkpoint and ends after that. Throws UserError if it cannot
// listen.
[[noreturn]] void serve_as_node(const NodeAddress& address, const ClusterSection& cluster);

}  // namespace collie
