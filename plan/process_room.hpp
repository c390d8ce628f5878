// The resources that a run takes from a process, counted before any of them is used. An actor system that
// could not start one of its parts does not end, and a process that the system kills gives no message.
#pragma once

#include <vector>

#include "base/limits.hpp"
#include "plan/run_plan.hpp"

namespace collie {

// The room of the actor system, without a network and with a network to `others` other processes: CAF's
// threads and sockets.
Room room_of_actor_system();
Room room_of_networked_actor_system(size_t others);

// The room of the trainer and of everything that it owns besides the ranks.
Room room_of_trainer(const RunPlan& plan);

// How the ranks of a process reach the ranks of other processes.
enum class RankLinks : uint8_t { none, messages, gloo };

// The room of the ranks that process `node` holds. Its bytes are OpenBLAS's reservation.
Room room_of_ranks(const RunPlan& plan, const std::vector<int>& node_of_rank, int node, RankLinks links);

// The bytes that all ranks of a run hold at once: the prediction for `plan` if it is a training run, else the
// weights alone.
size_t bytes_of_all_ranks(const RunPlan& plan);

// For a run whose ranks are all in this process. Throws RunError that says how much memory the ranks would
// need and how much they may have. The memory is predicted, which takes time, only if the process has a limit
// of its own or the weights are large relative to the machine's memory. Returns the predicted address space,
// or 0.
size_t check_memory(const RunPlan& plan);

}  // namespace collie
