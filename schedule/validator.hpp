// Plays all lists against each other before anything is allocated.
#pragma once

#include <string>
#include <vector>

#include "schedule/action.hpp"

namespace collie::schedule {

struct Limits {
  // Sends of one channel (from, to, forward or backward) that may be waiting for their receive before the
  // sender's list stops at its next send. 0: a send is a rendezvous, the sender stops until the receiver
  // reaches the receive (1f1b deadlocks then). 1 is the least with which 1f1b reaches its published
  // makespans, and enough for those of all built-in schedules; gpipe gains from more where communication
  // takes longer than an action, interleaved_1f1b a little where its backward is split.
  int credits = 1;
};

// Throws UserError naming the schedule, rank and action (with its place in the list, from 0; for a CSV file
// its row and column, from 1) where
//  - an action is missing, doubled, on a rank that does not hold its stage, or out of range;
//  - F does not precede B or I of its micro-batch, or I its W; a receive does not precede its use, a send its
//  make;
//  - stages on the same rank do not come in the order in which they need each other;
//  - a stage's weight gradients (B, W) do not come in micro-batch order;
//  - the lists deadlock: then every stuck rank is named with the action it waits at and what it waits for.
// Takes lists with or without communication (added if absent).
void validate(const Schedule& schedule, const Limits& limits = {});

// Most micro-batches of one stage that are between their F and the end of their B (or W) at once, for each
// stage. [stages]; in a forward-only schedule an F keeps nothing, so all are 0.
std::vector<int> peak_activations(const Schedule& schedule);

}  // namespace collie::schedule
