// Registers the engine's messages with CAF. Only behaviour files include this file.
#pragma once

#include <caf/all.hpp>

#include "actors/spawn.hpp"
#include "actors/wire.hpp"
#include "runtime/events.hpp"
#include "runtime/messages.hpp"

namespace collie {
using continue_atom = caf::atom_constant<caf::atom("continue")>;  // a stage's next turn
using known_atom = caf::atom_constant<caf::atom("known")>;        // a step's outcome is there
using check_atom = caf::atom_constant<caf::atom("check")>;      // asks whether a device has failed meanwhile
using elapsed_atom = caf::atom_constant<caf::atom("elapsed")>;  // the time of a synthetic task has passed
using tick_atom = caf::atom_constant<caf::atom("tick")>;        // clock tick of a watchdog
using set_atom = caf::atom_constant<caf::atom("set")>;          // to the directory: (set, key, value)
using get_atom = caf::atom_constant<caf::atom("get")>;          // to the directory: (get, key) -> value
using failed_atom = caf::atom_constant<caf::atom("failed")>;    // trainer to itself: (failed, failure)
// To process 0: (join, process, name, host, endpoint).
using join_atom = caf::atom_constant<caf::atom("join")>;
// To a node host, and from it to its owner: (leave, exit code).
using leave_atom = caf::atom_constant<caf::atom("leave")>;
// From the rendezvous: all processes have joined, or the reason why not.
using wait_atom = caf::atom_constant<caf::atom("wait")>;
using open_atom = caf::atom_constant<caf::atom("open")>;          // to a link end: (open, link, ends)
using work_atom = caf::atom_constant<caf::atom("work")>;          // to a reducer: something was submitted
using shutdown_atom = caf::atom_constant<caf::atom("shutdown")>;  // owner to node: (shutdown, cause)
}  // namespace collie

// These types stay in one process because they hold handles to its memory. Types that cross processes have an
// inspect() (wire.hpp).
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(collie::SnapshotPart)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::shared_ptr<collie::MessageLink>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(collie::SnapshotExpected)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(collie::SnapshotWritten)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(collie::BatchReady)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(collie::BatchWanted)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(collie::StepRecorded)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(collie::EvaluationWanted)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(collie::GenerationWanted)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(collie::ProgramRequest)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(collie::GenerationFinished)
