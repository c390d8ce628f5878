// Exponential moving averages of weights, with which a model is evaluated, saved and used.
#pragma once

#include <memory>

#include "optim/optimizer.hpp"

namespace collie {

inline constexpr const char* moving_average_state = "ema";  // in checkpoints

// The optimizer, and behind its states one that is the average of the weights after its updates: each update
// adds 1 - decay of the new weight, and the first one, all of it, as PyTorch's AveragedModel does
// (torch.optim.swa_utils.get_ema_multi_avg_fn). Where an update changes nothing, the average does not either.
// `of` has no average of its own.
std::unique_ptr<Optimizer> with_moving_average(std::unique_ptr<Optimizer> of, double decay);

}  // namespace collie
