// The engine's messages, made known to CAF. Included by behaviour files only.
#pragma once

#include <caf/all.hpp>

#include "actors/spawn.hpp"
#include "actors/wire.hpp"
#include "runtime/events.hpp"
#include "runtime/messages.hpp"

namespace collie {
using continue_atom = caf::atom_constant<caf::atom("continue")>;  // a stage's next turn
using known_atom = caf::atom_constant<caf::atom("known")>;        // a step's outcome is there
using check_atom = caf::atom_constant<caf::atom("check")>;        // has a device failed meanwhile?
using elapsed_atom = caf::atom_constant<caf::atom("elapsed")>;    // a synthetic task's time has passed
using batch_atom = caf::atom_constant<caf::atom("batch")>;        // to the loader: (batch, step)
using evaluate_atom = caf::atom_constant<caf::atom("evaluate")>;  // to the evaluator: (evaluate, step)
using generate_atom = caf::atom_constant<caf::atom("generate")>;  // to the generator
using recorded_atom = caf::atom_constant<caf::atom("recorded")>;  // monitor to trainer: (recorded, step)
using tick_atom = caf::atom_constant<caf::atom("tick")>;          // a watchdog's own clock
using set_atom = caf::atom_constant<caf::atom("set")>;            // to the directory: (set, key, value)
using get_atom = caf::atom_constant<caf::atom("get")>;            // to the directory: (get, key) -> value
using failed_atom = caf::atom_constant<caf::atom("failed")>;      // trainer to itself: (failed, failure)
using join_atom =
    caf::atom_constant<caf::atom("join")>;  // to process 0: (join, process, name, host, endpoint)
using leave_atom =
    caf::atom_constant<caf::atom("leave")>;  // to a node host, and from it to its owner: (leave, exit code)
using wait_atom =
    caf::atom_constant<caf::atom("wait")>;  // from the meeting: everybody has joined, or why not
using open_atom = caf::atom_constant<caf::atom("open")>;        // to a link's end: (open, link, ends)
using give_up_atom = caf::atom_constant<caf::atom("give_up")>;  // (give_up, program), to nodes and stages
using told_atom = caf::atom_constant<caf::atom("told")>;  // node to trainer: its ranks know what they give up
using cut_atom = caf::atom_constant<caf::atom("cut")>;    // to nodes: end what is communicated of it
using work_atom = caf::atom_constant<caf::atom("work")>;  // to a reducer: something was submitted
using shutdown_atom = caf::atom_constant<caf::atom("shutdown")>;  // owner to node: (shutdown, cause)
}  // namespace collie

// Local only: handles to memory of this process. What crosses processes has an inspect() (wire.hpp).
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(collie::SnapshotPart)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::shared_ptr<collie::MessageLink>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(collie::SnapshotExpected)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(collie::SnapshotWritten)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(collie::BatchReady)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(collie::ProgramRequest)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(collie::GenerationFinished)
