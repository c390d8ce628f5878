// Draws what the ranks did in one step: a lane a rank, a box a task.
#pragma once

#include <string>
#include <vector>

#include "runtime/messages.hpp"

namespace collie {

// What the colours s0, s1, ... mean.
std::vector<std::string> trace_legend();

// An SVG element that takes its colours from the page (page.cpp). Times are those of each rank's own machine.
// Of several thousand tasks the shortest are left out. traced[rank].spans are by time.
std::string trace_picture(const std::vector<ProgramDone>& traced);

}  // namespace collie
