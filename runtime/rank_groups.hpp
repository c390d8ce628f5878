// A rank's ends of its communication groups, for every transport.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "comm/byte_link.hpp"
#include "comm/collective_queue.hpp"
#include "comm/metered_group.hpp"
#include "comm/nccl/nccl_pipe.hpp"
#include "runtime/device.hpp"
#include "runtime/grid.hpp"

namespace collie {

// The most background operations per rank and group. Each holds one bucket, or one rank's keys and values.
inline constexpr int max_collectives_in_flight = 4;

// The rank's work queues on its GPU. A group has a slot if its tensors stay on GPUs.
struct RankDevice {
  std::shared_ptr<DeviceQueue> compute;  // the rank's computation; null on the CPU
  std::shared_ptr<DeviceSlot> tensor, context, key_value, data;
  std::vector<std::shared_ptr<DeviceSlot>> reduction_tree;
};

// NCCL edges between this rank and other ranks of its pipeline, keyed by the other rank. Tensors of stages
// travel over them.
struct StagePipes {
  std::map<int, std::shared_ptr<NcclPipe>> to, from;
};

// A group is null if the rank would be alone in it.
struct RankGroups {
  RankDevice device;
  std::shared_ptr<MeteredGroup> tensor;            // ranks with the other parts of the same matrices
  std::shared_ptr<MeteredGroup> context;           // ranks with the other tokens of the same sequences
  std::shared_ptr<CollectiveQueue> context_queue;  // queue of `context`, driven by its own reducer
  std::shared_ptr<MeteredGroup> key_value;         // ranks of the tensor group with the same key/value heads
  std::shared_ptr<MeteredGroup> data;  // ranks that compute other sequences or tokens with the same weights
  std::shared_ptr<CollectiveQueue> data_queue;  // queue of `data`, driven by the rank's reducer
  // Ranks of the other stages; on the host, for the rendezvous of the pipes.
  std::shared_ptr<MeteredGroup> pipeline;
  // The levels of the reduction tree (reduction_tree.hpp) that contain the rank. All ranks synchronise each
  // step on them. A level is null if the rank is alone in its group.
  std::vector<std::shared_ptr<MeteredGroup>> reduction_tree;
  StagePipes pipes;  // connect the GPUs of `pipeline`
  // Which groups have ranks in other processes.
  struct Spans {
    bool tensor = false, context = false, key_value = false, data = false;
    std::vector<bool> reduction_tree;  // [levels]
  };
  Spans spans;
};

// Makes the groups whose ranks are all in process `node`, without queues. Groups whose ranks share a GPU have
// slots for its memory; the caller fills the slots. Returns [ranks].
std::vector<RankGroups> make_local_groups(const Grid& grid, int key_value_heads,
                                          const std::vector<int>& node_of_rank, int node,
                                          const DeviceChoice& device);

// Adds the groups that make_local_groups() left out: those of `rank` that reach into other processes.
void add_linked_groups(const Grid& grid, int key_value_heads, int rank,
                       const std::shared_ptr<comm::ByteLink>& link,
                       const std::shared_ptr<MemoryAccount>& account, RankGroups& groups);

// Adds the queues for a rank's background operations. `tell_data` and `tell_context` notify the drivers of
// those queues.
void add_queues(const std::function<void()>& tell_data, const std::function<void()>& tell_context,
                RankGroups& groups);

// Everything that a rank communicates through. The rank, its reducer and its node share it; the node aborts
// it from outside.
class Connections {
 public:
  explicit Connections(RankGroups groups) : groups_(std::move(groups)) {}

  // The rank calls these before it computes anything. If abort() came first, the new link or groups are
  // aborted at once.
  void set_link(std::shared_ptr<comm::ByteLink> link);
  void set_groups(RankGroups groups);

  RankGroups groups() const;
  std::shared_ptr<comm::ByteLink> link() const;
  // The NCCL edge to or from the stages of `rank`. Null if their tensors do not travel over NCCL.
  std::shared_ptr<NcclPipe> pipe_to(int rank) const;
  std::shared_ptr<NcclPipe> pipe_from(int rank) const;

  // Wakes every wait of the rank, now and later. Any thread may call it.
  void abort(const std::string& cause);

  // Sets the program that the rank is to give up. From then on a communication failure is no failure of the
  // rank. Any thread may call it.
  void give_up(uint64_t program) { given_up_ = program; }
  uint64_t given_up() const { return given_up_; }  // 0: none

 private:
  void abort_all(const std::string& cause);

  mutable std::mutex mutex_;
  RankGroups groups_;
  std::shared_ptr<comm::ByteLink> link_;
  std::optional<std::string> aborted_;
  std::atomic<uint64_t> given_up_{0};
};

}  // namespace collie
