// AdamW: decoupled weight decay, two moments (Loshchilov & Hutter, arXiv 1711.05101).
#pragma once

#include "optim/optimizer.hpp"

namespace collie {

// betas, eps and weight_decay are read; the lr of a step comes with it. Throws UserError for values out of
// range.
std::unique_ptr<Optimizer> make_adamw(const OptimizerConfig& config);

}  // namespace collie
