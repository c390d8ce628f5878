// The command as a host of the engine: an actor system, a run in it, and Ctrl-C.
#pragma once

#include <functional>

#include "actors/cluster.hpp"
#include "actors/engine.hpp"

namespace collie {

struct RunHandlers {
  std::function<void(const RunStarted&)> started = [](const RunStarted&) {};
  std::function<void(const EvaluationFinished&)> evaluated = [](const EvaluationFinished&) {};
  std::function<void(const CheckpointSaved&)> saved = [](const CheckpointSaved&) {};
  std::function<void(const TokenGenerated&)> generated = [](const TokenGenerated&) {};
};

// Runs `plan` to its end. The first SIGINT or SIGTERM asks it to stop (RunStatus::interrupted), the second
// ends the process at once with 130. A failure's message goes to the log. Must be called before other threads
// are started: it blocks these signals for all of them.
RunEnded run_to_end(RunPlan plan, const RunHandlers& handlers);

// Listens as a node until SIGINT or SIGTERM; returns 0 then. Throws UserError where it cannot listen.
int serve_as_node(const NodeAddress& address, const ClusterSection& cluster);

}  // namespace collie
