// The built-in learning-rate schedules. Their options are declared in io/learning_rate_options.cpp.
//
// All but one_cycle rise to 1 over a warm-up of w steps, with the factor t / w at step t (from 1). Then they
// follow a curve, which starts at 1 where the warm-up ends, and which is at its minimum at the last step.
// Where the warm-up is as long as the run or longer, there is no curve. Without warm-up the curve starts at
// step 0, one before the first.
//
// So step t has the factor that PyTorch's and transformers' LambdaLR give after t calls of step(), and not
// after t - 1, as it is there: their first step has the factor 0, and their last one does not reach the
// minimum. one_cycle and step are as in PyTorch, where that is no question.
//
// In the formulas below p = (t - w) / (T - w) is the progress of the curve at step t of T, and r is
// min_lr_ratio.
#pragma once

#include "optim/optimizer.hpp"

namespace collie {

// The steps of the warm-up that warmup_steps or warmup_ratio say. A share is rounded up, as in transformers.
int64_t steps_of_warmup(const OptionValues& options, int64_t total_steps);

LearningRateSchedule make_constant_schedule(const OptionValues& options);  // 1
LearningRateSchedule make_linear_schedule(const OptionValues& options);    // r + (1 - r) (1 - p)
// r + (1 - r) (1 + cos(pi p)) / 2: half a cosine (Loshchilov & Hutter, arXiv 1608.03983, without restarts).
LearningRateSchedule make_cosine_schedule(const OptionValues& options);
// The same num_cycles times, each time from 1, as transformers' hard restarts (same paper).
LearningRateSchedule make_cosine_with_restarts_schedule(const OptionValues& options);
// r + (1 - r) (1 - p)^power, as transformers' polynomial decay.
LearningRateSchedule make_polynomial_schedule(const OptionValues& options);
// 1 / sqrt(1 + (t - w) / timescale), as transformers' (Raffel et al., arXiv 1910.10683). It has no minimum,
// and does not depend on the number of steps.
LearningRateSchedule make_inverse_sqrt_schedule(const OptionValues& options);
// PyTorch's OneCycleLR (Smith & Topin, arXiv 1708.07120) without a cycle of the momentum: from 1 / div_factor
// at the first step up to 1, then down to 1 / (div_factor final_div_factor) at the last one.
LearningRateSchedule make_one_cycle_schedule(const OptionValues& options);
// 1 until the last decay_steps, in which it falls to r (Hu et al., arXiv 2404.06395), as transformers'. A
// decay that would begin before the warm-up ends begins there.
LearningRateSchedule make_warmup_stable_decay_schedule(const OptionValues& options);
// gamma^k after k times step_size steps, as PyTorch's StepLR: step w + step_size is the last with 1.
LearningRateSchedule make_step_schedule(const OptionValues& options);

}  // namespace collie
