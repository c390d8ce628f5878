// A group whose ranks have a GPU each. Its tensors travel by NCCL.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "comm/nccl/api.hpp"
#include "comm/process_group.hpp"

namespace collie {

// The order in which sums are taken. NCCL's order depends on its algorithm, the number of ranks and their
// network. Its bits differ from those of the in-process groups, but repeat while these stay the same.
// bfloat16 is always added in rank order, as NCCL rounds after every addition.
enum class NcclSums : int32_t {
  of_nccl,
  // The order of every other group: each rank gets its share of all ranks' summands and adds them. As many
  // bytes travel, and one more tensor's memory is needed during the sum.
  in_rank_order
};

struct NcclSettings {
  std::string name;  // the group's name in messages: "data group"
  NcclSums sums = NcclSums::of_nccl;
  std::shared_ptr<MemoryAccount> account;  // pays for what sums in rank order need besides their tensors
};

class NcclGroup : public ProcessGroup {
 public:
  // Makes the communicator. It blocks until all ranks call it, and comes before anything else is done with
  // tensors on the device. RunError if NCCL refuses, as it does if two ranks have the same GPU.
  virtual void connect() = 0;
};

// `host` has the same ranks. It carries the communicator's id, tensors on the host, and barriers. It is
// aborted with the group, and its failure on this rank ends the group within a moment. `queue` is one of this
// rank's GPU. NCCL does not compare the ranks' calls: different ones hang until the group is aborted.
std::shared_ptr<NcclGroup> make_nccl_group(const nccl::Api& api, std::shared_ptr<ProcessGroup> host,
                                           std::shared_ptr<DeviceQueue> queue, NcclSettings settings);

}  // namespace collie
