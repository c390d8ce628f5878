// The embedding API: it runs a training run inside a host program's own actor system.
//
//   caf::actor_system_config config;
//   config.set("scheduler.policy", caf::atom("sharing"));  // idle workers sleep
//   collie::add_message_types(config);  // before the actor system exists
//   caf::actor_system system(config);
//   // Throws UserError: the input is checked before anything starts.
//   auto plan = collie::plan_training(...);
//   caf::actor run = collie::spawn_run(system, plan, listener);
//
// `listener` receives the messages of runtime/events.hpp; RunEnded is the last. A host adds its own
// optimizers, losses, learning-rate schedules, callbacks and sinks to their registries before it plans the
// run.
#pragma once

#include <caf/actor.hpp>
#include <caf/fwd.hpp>
#include <memory>
#include <vector>

#include "plan/run_plan.hpp"
#include "runtime/events.hpp"

namespace collie {

struct RemoteNode;

void add_message_types(caf::actor_system_config& config);

// Prepares the run folder of a training run and starts the run. Throws UserError or RunError.
caf::actor spawn_run(caf::actor_system& system, RunPlan plan, caf::actor listener);

// Does the same on nodes that are already connected (actors/cluster.hpp, actors/launch.hpp).
caf::actor spawn_run(caf::actor_system& system, RunPlan plan, caf::actor listener,
                     std::vector<RemoteNode> nodes);

// Asks a run to end. RunStatus::stopped: the run ends after the step that is being computed, with a
// checkpoint and the final model. RunStatus::interrupted: the run ends as soon as it can, with a checkpoint
// of the last whole step. It gives up the running step or evaluation; on several GPUs it finishes a running
// step. RunEnded tells when the run has ended.
void request_stop(const caf::actor& run, RunStatus why);

// Asks a run for a checkpoint after the step that is being computed. The run continues.
void request_checkpoint(const caf::actor& run);

}  // namespace collie
