// What a run takes of a process, counted before any of it is started: an actor system of which a part could
// not be started does not end, and what the system kills says nothing.
#pragma once

#include <vector>

#include "base/limits.hpp"
#include "plan/run_plan.hpp"

namespace collie {

// Of the actor system, with and without a network to `others` other processes: CAF's threads and sockets.
Room room_of_actor_system();
Room room_of_networked_actor_system(size_t others);

// Of the trainer and what it owns beside the ranks.
Room room_of_trainer(const RunPlan& plan);

// How the ranks of a process reach those of others.
enum class RankLinks : uint8_t { none, messages, gloo };

// Of the ranks that process `node` holds. Its bytes are what OpenBLAS reserves.
Room room_of_ranks(const RunPlan& plan, const std::vector<int>& node_of_rank, int node, RankLinks links);

// Bytes that all ranks of a run together will have at once: as `plan` says where it is a training run, else
// the weights alone.
size_t bytes_of_all_ranks(const RunPlan& plan);

// For a run whose ranks are all in this process. Throws RunError that says how much memory the ranks would
// need and what they may have; it is predicted, which takes time, where the process has a limit of its own,
// or the weights are large beside the machine's memory. Returns the address space that was predicted, or 0.
size_t check_memory(const RunPlan& plan);

}  // namespace collie
