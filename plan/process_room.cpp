#include "plan/process_room.hpp"

#include <algorithm>
#include <thread>

#include "base/error.hpp"
#include "kernels/cpu/blas.hpp"
#include "models/quantised_weights.hpp"
#include "net/page_server.hpp"
#include "optim/parameter_groups.hpp"
#include "plan/memory_plan.hpp"

namespace collie {
namespace {

// The actor system has two workers, a clock and a printer. With a network it also has the network's loop and
// supervisor, and a gate.
constexpr int threads_of_actor_system = 4, threads_of_network = 3;
constexpr int descriptors_of_network = 10;
// for metrics, checkpoints, data, logs and libraries
constexpr int descriptors_of_files = 24, descriptors_of_rank = 2;
constexpr size_t blas_library_bytes = size_t{64} << 20;  // including the libraries that it loads itself
constexpr int descriptors_of_gloo_rank = 4;              // besides one for each other rank

bool computes_on_cpu(const RunPlan& plan) {
  return device_of(plan).kind == DeviceKind::cpu;
}

// oneTBB has at most one worker less than there are processors, whatever the arenas ask for.
int arena_workers(const RunPlan& plan, int ranks) {
  const int processors = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return std::min(ranks * (plan.threads_per_rank - 1), processors - 1);
}

int threads_of_rank(const RunPlan& plan, bool spans, RankLinks links) {
  const Grid& grid = plan.layout.grid;
  const bool several_gpus = !computes_on_cpu(plan) && plan.device.gpus > 1;
  int threads = 1;
  if (grid.data_ranks() > 1) ++threads;  // reducers
  if (grid.context > 1) ++threads;
  if (grid.pipeline > 1 && (spans || several_gpus)) ++threads;  // receiver
  if (links == RankLinks::gloo) threads += 1 + grid.ranks();    // loop and clock, and a watcher for each peer
  return threads;
}

size_t bytes_of_weights(const RunPlan& plan) {
  size_t bytes = 0;
  for (const Parameter& parameter : model_parameters(plan.model))
    bytes += parameter.quantisation.is_there()
                 ? static_cast<size_t>(held_bytes(parameter))
                 : static_cast<size_t>(parameter.shape.numel()) * size_of(dtype_of(plan.config.model));
  return bytes;
}

}  // namespace

Room room_of_actor_system() {
  return {threads_of_actor_system, 0, 0};
}

Room room_of_networked_actor_system(size_t others) {
  return {threads_of_actor_system + threads_of_network, descriptors_of_network + 2 * static_cast<int>(others),
          0};
}

Room room_of_trainer(const RunPlan& plan) {
  const bool trains = plan.purpose == Purpose::train;
  Room room{trains ? 2 + plan.layout.grid.data : 0, descriptors_of_files, 0};  // monitor, writer, loaders
  if (trains && !plan.config.monitor.prometheus.empty()) {
    const int waits_and_listens = 2;
    room.threads += 1;
    room.descriptors += waits_and_listens + static_cast<int>(PageServerLimits{}.most_connections);
  }
  return room;
}

Room room_of_ranks(const RunPlan& plan, const std::vector<int>& node_of_rank, int node, RankLinks links) {
  const int ranks = static_cast<int>(std::count(node_of_rank.begin(), node_of_rank.end(), node));
  const bool spans = node_of_rank.front() != node_of_rank.back();
  Room room;
  room.threads = ranks * threads_of_rank(plan, spans, links);
  if (plan.purpose == Purpose::train) ++room.threads;  // shard writer
  room.descriptors = ranks * descriptors_of_rank;
  if (links == RankLinks::gloo)
    room.descriptors += ranks * (descriptors_of_gloo_rank + plan.layout.grid.ranks());
  if (!computes_on_cpu(plan)) return room;
  room.threads += arena_workers(plan, ranks);
  room.bytes =
      blas_library_bytes + static_cast<size_t>(ranks * plan.threads_per_rank) * cpu::blas_buffer_bytes;
  return room;
}

size_t bytes_of_all_ranks(const RunPlan& plan) {
  if (plan.purpose != Purpose::train) return bytes_of_weights(plan);
  size_t bytes = 0;
  for (const PlannedRank& rank : predict_memory(plan)) bytes += rank.peak_total_bytes;
  return bytes;
}

size_t check_memory(const RunPlan& plan) {
  if (!computes_on_cpu(plan)) return 0;
  const MemoryLimit limit = least_memory_limit();
  // A rank's other memory is seldom more than this many times its weights.
  constexpr size_t times_weights = 16;
  if (limit.of_machine && bytes_of_weights(plan) < limit.bytes / times_weights) return 0;
  const size_t bytes = bytes_of_all_ranks(plan);
  // A checkpoint is mapped while it is read: the weights and the optimizer's states.
  const size_t copies =
      plan.purpose == Purpose::train ? 1 + ParameterGroups(plan.config.optimizer).most_states() : 0;
  if (bytes <= limit.bytes) return bytes + copies * bytes_of_weights(plan);
  throw RunError(
      "too little memory: the {} ranks would hold {}, and {} lets this process have {}; 'collie-engine plan' "
      "says what takes how much",
      plan.layout.grid.ranks(), in_mib(bytes), limit.name, in_mib(limit.bytes));
}

}  // namespace collie
