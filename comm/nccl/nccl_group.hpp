// A group whose ranks have a GPU each: its tensors travel by NCCL.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "comm/nccl/api.hpp"
#include "comm/process_group.hpp"

namespace collie {

// In which order sums are taken. NCCL's depends on its algorithm, the number of ranks and their network:
// other bits than those of the groups of a process, the same ones every time while these stay the same.
// bfloat16 is added in rank order always, as NCCL rounds after every addition.
enum class NcclSums : int32_t {
  of_nccl,
  // As every other group: each rank gets its share of all ranks' summands and adds them. As many bytes
  // travel; memory for one more tensor is needed while it lasts.
  in_rank_order
};

struct NcclSettings {
  std::string name;  // what messages call the group: "data group"
  NcclSums sums = NcclSums::of_nccl;
  std::shared_ptr<MemoryAccount> account;  // what sums in rank order need beside their tensors
};

class NcclGroup : public ProcessGroup {
 public:
  // Makes the communicator: blocks until all ranks call it, before anything else is done with tensors on the
  // device. RunError where NCCL refuses, as it does if two ranks have the same GPU.
  virtual void connect() = 0;
};

// `host` has the same ranks: over it go the communicator's id, tensors on the host, and barriers. It is
// aborted with the group, and its failure on this rank ends the group within a moment. `queue`: of this
// rank's GPU. NCCL does not compare the ranks' calls: different ones hang, until the group is aborted.
std::shared_ptr<NcclGroup> make_nccl_group(const nccl::Api& api, std::shared_ptr<ProcessGroup> host,
                                           std::shared_ptr<DeviceQueue> queue, NcclSettings settings);

}  // namespace collie
