// The built-in learning-rate schedules. Each rises to 1 over warmup_steps, factor t / warmup_steps at step t
// (from 1), then follows its curve, which starts at 1 where the warm-up ends and is at its minimum at the
// last step. Where the warm-up is as long as the run or longer, there is no curve. Without warm-up the curve
// starts at step 0, one before the first.
#pragma once

#include "optim/optimizer.hpp"

namespace collie {

LearningRateSchedule make_constant_schedule(
    const LearningRateConfig& config);  // stays at 1; min_lr_ratio not used
LearningRateSchedule make_linear_schedule(const LearningRateConfig& config);  // straight down to min_lr_ratio
// Half a cosine down to min_lr_ratio (Loshchilov & Hutter, arXiv 1608.03983, without restarts).
LearningRateSchedule make_cosine_schedule(const LearningRateConfig& config);

}  // namespace collie
