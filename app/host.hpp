// The command as a host of the engine: an actor system, a run in it, and Ctrl-C.
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

// Runs `plan` to its end. The first signal that ends a process (app/signals.hpp) asks it to stop
// (RunStatus::interrupted), SIGUSR1 asks a training run for a checkpoint. A failure's message goes to the
// log. `launch`: where the ranks are in several processes that were started together; this must be process 0.
RunEnded run_to_end(RunPlan plan, const RunHandlers& handlers, const std::optional<Launch>& launch = {});

// Any other of those processes; returns the exit code.
int join_run(const Launch& launch, const ClusterSection& cluster);

// What main() returns, last of all. Where there were other processes it does not return: CAF may not end.
int ended(int exit_code);

// Listens as a node until a signal ends it, with 0: at once, or, where it holds ranks, when their run has
// stopped with a checkpoint, which it is asked for. Throws UserError where it cannot listen.
[[noreturn]] void serve_as_node(const NodeAddress& address, const ClusterSection& cluster);

}  // namespace collie
