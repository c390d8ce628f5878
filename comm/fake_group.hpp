// A rank's end of a fake group: there are no other ranks, and calls are checked and return at once.
#pragma once

#include <memory>

#include "comm/process_group.hpp"

namespace collie {

// For planning: behind a MeteredGroup it counts what a rank would communicate. Tensors may be meta tensors.
// No values are read or written.
std::shared_ptr<ProcessGroup> make_fake_group(int rank, int size);

}  // namespace collie
