// What a run's plan means for the trainer's core.
#pragma once

#include "actors/run_plan.hpp"
#include "actors/trainer_core.hpp"

namespace collie {

TrainerSettings trainer_settings(const RunPlan& plan, const RunTag& tag);

}  // namespace collie
