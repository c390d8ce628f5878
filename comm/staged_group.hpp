// A group for tensors on any device. Tensors that are not on the host travel through host memory.
#pragma once

#include <memory>

#include "comm/process_group.hpp"

namespace collie {

// `inner` takes tensors on the host. Copies are charged to `account` as communication.
std::shared_ptr<ProcessGroup> make_staged_group(std::shared_ptr<ProcessGroup> inner,
                                                std::shared_ptr<MemoryAccount> account);

}  // namespace collie
