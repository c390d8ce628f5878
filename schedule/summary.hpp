// The words that the text and the picture share.
#pragma once

#include <string>

#include "schedule/simulator.hpp"

namespace collie::schedule {

// "1f1b: 4 ranks, 8 micro-batches", with the number of stages if a rank has several.
std::string title_of(const Schedule& schedule);
// "makespan 33, bubble 27.3 %"
std::string times_of(const Timeline& timeline);
// "4 3 2 1", by stage
std::string peaks_of(const Schedule& schedule);
// "F3", or "1F3" if a rank has several stages.
std::string label_of(const Schedule& schedule, const Action& action);
// The duration of the shortest compute action that takes any time; 0 if there is none.
double shortest_compute(const Timeline& timeline);

}  // namespace collie::schedule
