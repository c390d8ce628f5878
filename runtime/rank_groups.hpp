// A rank's ends of the groups it communicates in, whatever carries them.
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

// Of a rank's operations in the background on one group: each holds a bucket, or a rank's keys and values.
inline constexpr int max_collectives_in_flight = 4;

// The rank's queues of work on its GPU. A group whose tensors stay on GPUs has a slot.
struct RankDevice {
  std::shared_ptr<DeviceQueue> compute;  // what the rank computes; null on the CPU
  std::shared_ptr<DeviceSlot> tensor, context, key_value, data;
  std::vector<std::shared_ptr<DeviceSlot>> reduction_tree;
};

// Ways between this rank and others of its pipeline over which stages' tensors travel by NCCL, by the other
// rank.
struct StagePipes {
  std::map<int, std::shared_ptr<NcclPipe>> to, from;
};

// Groups are null where the rank would be alone.
struct RankGroups {
  RankDevice device;
  std::shared_ptr<MeteredGroup> tensor;            // holds the other parts of the same matrices
  std::shared_ptr<MeteredGroup> context;           // holds the other tokens of the same sequences
  std::shared_ptr<CollectiveQueue> context_queue;  // of `context`, driven by a reducer of its own
  std::shared_ptr<MeteredGroup> key_value;         // of the tensor group, holds the same key/value heads
  std::shared_ptr<MeteredGroup> data;              // computes other sequences or tokens with the same weights
  std::shared_ptr<CollectiveQueue> data_queue;     // of `data`, driven by the rank's reducer
  std::shared_ptr<MeteredGroup> pipeline;          // has the other stages; on the host, to find each other
  // The levels of the reduction tree (reduction_tree.hpp) in which the rank is, on which all ranks agree on
  // each step; null where it is alone in its group.
  std::vector<std::shared_ptr<MeteredGroup>> reduction_tree;
  StagePipes pipes;  // what the GPUs of `pipeline` send each other over
};

// The groups whose ranks are all in process `node`, without queues. Those whose ranks share a GPU have slots
// for its memory, which are to be filled. [ranks]
std::vector<RankGroups> make_local_groups(const Grid& grid, int key_value_heads,
                                          const std::vector<int>& node_of_rank, int node,
                                          const DeviceChoice& device);

// Fills in what make_local_groups() left out: the groups of `rank` that reach into other processes.
void add_linked_groups(const Grid& grid, int key_value_heads, int rank,
                       const std::shared_ptr<comm::ByteLink>& link,
                       const std::shared_ptr<MemoryAccount>& account, RankGroups& groups);

// The queues of a rank's operations in the background, which `tell_data` and `tell_context` pass on to their
// drivers.
void add_queues(const std::function<void()>& tell_data, const std::function<void()>& tell_context,
                RankGroups& groups);

// What a rank communicates through, shared by the rank, its reducer, and its node, which ends it from
// outside.
class Connections {
 public:
  explicit Connections(RankGroups groups) : groups_(std::move(groups)) {}

  // By the rank, before it computes anything. Where abort() came first, what is set is aborted.
  void set_link(std::shared_ptr<comm::ByteLink> link);
  void set_groups(RankGroups groups);

  RankGroups groups() const;
  std::shared_ptr<comm::ByteLink> link() const;
  // Over which tensors go to, and come from, that rank's stages; null: otherwise than over NCCL.
  std::shared_ptr<NcclPipe> pipe_to(int rank) const;
  std::shared_ptr<NcclPipe> pipe_from(int rank) const;

  // Wakes every wait of the rank, now and later. Callable from any thread.
  void abort(const std::string& cause);

  // The program that the rank is to give up: what its communication fails with from now on is no failure of
  // the rank's. Callable from any thread.
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
