// The embedding API: a training run inside a host program's own actor system.
//
//   caf::actor_system_config config;
//   config.set("scheduler.policy", caf::atom("sharing"));  // idle workers sleep
//   collie::add_message_types(config);  // before the actor system exists
//   caf::actor_system system(config);
//   // Throws UserError: the input is checked before anything starts.
//   auto plan = collie::plan_training(...);
//   caf::actor run = collie::spawn_run(system, plan, listener);
//
// `listener` receives the messages of runtime/events.hpp, RunEnded last. Own optimizers, losses,
// learning-rate schedules and callbacks are added to their registries before the run is planned.
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

// Makes the run folder ready (training; throws UserError or RunError) and starts the run.
caf::actor spawn_run(caf::actor_system& system, RunPlan plan, caf::actor listener);

// The same on nodes that are already connected (actors/cluster.hpp, actors/launch.hpp).
caf::actor spawn_run(caf::actor_system& system, RunPlan plan, caf::actor listener,
                     std::vector<RemoteNode> nodes);

// Asks a run to end: RunStatus::stopped, after the step being computed, with checkpoint and final model, or
// RunStatus::interrupted, as soon as it can, with a checkpoint of the last whole step: a step or evaluation
// that is being computed is given up (on several GPUs a step is finished). RunEnded tells when it has ended.
void request_stop(const caf::actor& run, RunStatus why);

// Asks a run for a checkpoint after the step being computed; it goes on.
void request_checkpoint(const caf::actor& run);

}  // namespace collie
