// The simplest byte link: ranks are threads of one process, and whoever comes second copies. As strict as a
// link may be: a message longer than its receive ends the process.
#pragma once

#include <memory>
#include <vector>

#include "comm/byte_link.hpp"

namespace collie::test {

// `most_bytes` small enough that tests cut their messages.
std::vector<std::shared_ptr<comm::ByteLink>> make_memory_links(int size, size_t most_bytes = 16 * 1024);

}  // namespace collie::test
