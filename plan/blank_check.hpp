// Whether data are what a model that fills in blanks is trained on (models/blanks.hpp).
#pragma once

#include <span>

#include "io/config.hpp"
#include "io/sequence_order.hpp"
#include "models/model_config.hpp"

namespace collie {

// Reads the documents that `order` takes, once. Throws UserError unless they stay whole, each has a blank and
// a start token among its inputs, and no target stands in a context, whose tokens see each other: a model
// would learn to copy it. Does nothing for other models.
void check_blanks(const BlankTokens& tokens, const SequenceOrder& order, const Config& config);

// The same of a text that is continued.
void check_blank_of_prompt(const BlankTokens& tokens, std::span<const int32_t> prompt);

}  // namespace collie
