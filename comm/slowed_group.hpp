// A group behind an artificially slow link. On one machine it shows whether a real network's communication
// would be hidden behind computation.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "comm/process_group.hpp"

namespace collie {

struct LinkSpeed {
  double latency_s = 0;         // added to every call
  double bytes_per_second = 0;  // 0: no limit
};

// Parses "latency_us=50,gbps=0.5": microseconds per call, and 10^9 bits per second; either may be missing.
// UserError for anything else.
LinkSpeed parse_link_speed(std::string_view spec);

// Returns the same group, slowed. Before each call that involves another rank the calling thread sleeps
// latency + bytes / bandwidth, where bytes are the larger of what this rank must send and receive in it
// (comm/volume.hpp). `ends` are the group's ends in this process. An abort through any of the ends that are
// made here ends the sleep of all of them at once. Another process's abort is noticed after the sleep.
std::vector<std::shared_ptr<ProcessGroup>> slow_down(const std::vector<std::shared_ptr<ProcessGroup>>& ends,
                                                     const LinkSpeed& speed);

}  // namespace collie
