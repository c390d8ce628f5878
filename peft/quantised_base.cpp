#include "peft/quantised_base.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/name_pattern.hpp"
#include "base/quote.hpp"
#include "models/config_reader.hpp"
#include "models/stage_model.hpp"
#include "peft/model_modules.hpp"

namespace collie {
Quantisation quantisation_of(const QuantizationSection& section) {
  for (const QuantisedKind kind : {QuantisedKind::nf4, QuantisedKind::fp4})
    if (section.kind == name(kind)) return {kind, section.double_quant, section.block_size};
  if (section.kind == name(QuantisedKind::int8))
    return {QuantisedKind::int8, false, Quantisation().block_size};
  return {};
}

void quantise_model(const Config& config, ModelSpec& model) {
  const QuantizationSection& section = config.quantization;
  model.quantisation = quantisation_of(section);
  if (!model.quantisation.is_there()) return;
  if (config.model.from_scratch)
    throw UserError(
        "{}: found {}, and model.from_scratch has no weights that last, which could be frozen; a model.path "
        "with "
        "weights is wanted",
        config.file.place("quantization.kind"), section.kind);
  model.not_quantised = section.skip;
  const std::vector<ModelModule> modules = modules_of(model.base());
  std::vector<ModelModule> matrices = modules;
  std::erase_if(matrices, [](const ModelModule& module) { return !module.is_matrix; });
  const auto names = [&] { return names_in_words(matrices, [](const ModelModule&) { return true; }); };
  const std::string place = config.file.place("quantization.skip");
  for (const std::string& pattern : section.skip) {
    const bool matches = std::any_of(modules.begin(), modules.end(), [&](const ModelModule& module) {
      return matches_end_of_name(pattern, module.name);
    });
    // The default, and names of transformers for what is never quantised here.
    const bool is_head = pattern == "lm_head" || pattern == "embed_out" || pattern == "score";
    if (!matches && !is_head)
      throw UserError("{}: '{}' matches no matrix of the model's blocks; they are {}", place,
                      shortened(pattern), names());
  }
  if (std::none_of(matrices.begin(), matrices.end(),
                   [&](const ModelModule& matrix) { return model.quantisation_of(matrix.name).is_there(); }))
    throw UserError("{}: leaves no matrix to quantise; the model's blocks have {}", place, names());
}

void check_quantised_is_frozen(const Config& config, const ModelSpec& model) {
  if (!model.quantisation.is_there()) return;
  if (config.peft.type == "none" && read_model_keys(config.model.path).object.contains("quantization_config"))
    throw UserError(
        "{}/config.json: the model is stored quantised, as {}, and a quantised matrix is frozen; adapters "
        "are "
        "wanted to train (peft.type), or the model in floats",
        config.model.path, config.quantization.kind);
  if (config.peft.type == "none")
    throw UserError(
        "{}: found {}, but there are no adapters to train, and a quantised matrix is frozen; either "
        "peft.type "
        "is wanted beside it, or quantization.kind: none",
        config.file.place("quantization.kind"), config.quantization.kind);
  if (model.changes_base())
    throw UserError(
        "{}: found {}, which takes what it begins with out of the matrices, and these are quantised; true or "
        "gaussian is wanted",
        config.file.place("peft.init_lora_weights"), config.peft.init_lora_weights);
  for (const Parameter& parameter : model_parameters(model))
    if (parameter.quantisation.is_there() && parameter.trainable)
      throw UserError(
          "{}: {} is trained (peft.modules_to_save), and a quantised matrix is frozen; it is wanted in "
          "quantization.skip",
          config.file.place("peft.modules_to_save"), parameter.name);
}

}  // namespace collie
