// Lets the suite of groups, whose tensors are on the host, test groups of tensors on a device.
#pragma once

#include <memory>

#include "comm/process_group.hpp"
#include "tests/devices/rank_device.hpp"

namespace collie::test {

// An end whose tensors are copied to `device`, given to `inner`, and what became of them is copied back. What
// stands within another tensor does so on the device, too.
std::shared_ptr<ProcessGroup> make_uploaded_group(std::shared_ptr<ProcessGroup> inner,
                                                  std::shared_ptr<RankDevice> device);

}  // namespace collie::test
