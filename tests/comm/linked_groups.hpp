// Groups over byte links, all of whose ranks are threads of one process.
#pragma once

#include <memory>
#include <vector>

#include "comm/gloo_link.hpp"
#include "comm/linked_process_group.hpp"
#include "tests/comm/support.hpp"

namespace collie::test {

using Links = std::vector<std::shared_ptr<comm::ByteLink>>;

// 0, 1, ..., size - 1
std::vector<int> everybody(int size);

// Ends over the loopback interface; `options` but for rank and size.
Links make_gloo_links(int size, const comm::GlooOptions& options = {});

// All ranks of each link.
Group make_linked_groups(const Links& links, uint32_t number = 0);

Group make_linked_over_memory(int size);
Group make_linked_over_gloo(int size);

}  // namespace collie::test
