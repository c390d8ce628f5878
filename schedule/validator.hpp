// Checks a schedule, by playing all lists against each other, before anything is allocated.
#pragma once

#include <string>
#include <vector>

#include "schedule/action.hpp"

namespace collie::schedule {

struct Limits {
  // The number of sends of one channel (from, to, forward or backward) that may wait for their receive before
  // the sender's list stops at its next send. With 0 a send is a rendezvous: the sender stops until the
  // receiver reaches the receive (1f1b deadlocks then). With at least 1, 1f1b reaches its published
  // makespans, and 1 is enough for those of all built-in schedules. gpipe gains from more if communication
  // takes longer than an action, and interleaved_1f1b gains a little if its backward is split.
  int credits = 1;
};

// Throws UserError naming the schedule, rank and action (with its place in the list, from 0; for a CSV file
// its row and column, from 1) if
//  - an action is missing, doubled, on a rank that does not hold its stage, or out of range;
//  - F does not precede B or I of its micro-batch, or I its W; a receive does not precede its use, or a send
//    comes before the action that makes its tensor;
//  - stages on the same rank do not come in the order in which they need each other;
//  - a stage's weight gradients (B, W) do not come in micro-batch order;
//  - the lists deadlock: then every stuck rank is named with the action it waits at and what it waits for.
// It takes lists with or without communication, which is added if absent.
void validate(const Schedule& schedule, const Limits& limits = {});

// Per stage, the most micro-batches that are between their F and the end of their B (or W) at once. [stages].
// In a forward-only schedule an F keeps nothing, so all are 0.
std::vector<int> peak_activations(const Schedule& schedule);

}  // namespace collie::schedule
