// What LoRA and AdaLoRA have in common: which matrices have an adapter, and what is trained beside them.
#pragma once

#include "peft/module_choice.hpp"

namespace collie {

// peft.target_modules, or what transformers' models of such names get from peft: queries and values. Throws
// UserError as ModuleChoice::matrices().
std::vector<ModelModule> low_rank_targets(const PeftSection& peft, const ModuleChoice& choice);

// Of a model whose adapters are there: peft.modules_to_save and peft.bias.
void train_beside_adapters(const PeftSection& peft, const ModuleChoice& choice, ModelSpec& model);

}  // namespace collie
