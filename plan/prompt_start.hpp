// As which tokens of the vocabulary the virtual tokens of a run begin.
#pragma once

#include "plan/run_plan.hpp"

namespace collie {

// Sets plan.model.prompt.start_ids by peft.prompt_tuning_init: none for RANDOM; for TEXT the tokens of
// peft.prompt_tuning_init_text, as often as they are needed (as peft does: with what the tokenizer puts
// before a text); for SAMPLE_VOCAB tokens that run.seed chooses. Throws UserError if the text has no token.
void choose_prompt_start(RunPlan& plan);

}  // namespace collie
