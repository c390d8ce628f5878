// A second process group, for tests: one thread does everything, one request after the other, and ranks wait
// for its answers. Shares no code with the one it is compared with.
#pragma once

#include <memory>
#include <vector>

#include "comm/process_group.hpp"

namespace collie::test {

std::vector<std::shared_ptr<ProcessGroup>> make_coordinator_group(int size);

}  // namespace collie::test
