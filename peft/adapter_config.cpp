#include "peft/adapter_config.hpp"

#include <filesystem>
#include <set>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "models/stage_model.hpp"
#include "peft/adapter_kind.hpp"

namespace collie {

PeftSection read_adapter_config(const std::string& folder) {
  const AdapterConfigFile file(folder);
  const nlohmann::json* const found = file.find("peft_type");
  std::string known;
  for (const AdapterKind& kind : adapter_kinds()) {
    if (found != nullptr && *found == kind.peft_type) {
      PeftSection peft = kind.read(file);
      peft.type = kind.type;
      return peft;
    }
    known += (known.empty() ? "" : " or ") + ("\"" + std::string(kind.peft_type) + "\"");
  }
  file.refuse("peft_type", found != nullptr ? *found : nlohmann::json(), known);
}

// How ranks are chosen is the run's business where its configuration says so, and how long a run is, always.
static void keep_schedule(const Config& config, PeftSection& found) {
  const PeftSection& own = config.peft;
  const auto keep = [&](const char* key, auto PeftSection::*member) {
    if (config.file.places.count(std::string("peft.") + key) > 0) found.*member = own.*member;
  };
  keep("target_r", &PeftSection::target_r);
  keep("tinit", &PeftSection::tinit);
  keep("tfinal", &PeftSection::tfinal);
  keep("deltaT", &PeftSection::deltaT);
  keep("beta1", &PeftSection::beta1);
  keep("beta2", &PeftSection::beta2);
  keep("orth_reg_weight", &PeftSection::orth_reg_weight);
  found.total_step = own.total_step;
}

void complete_adapter_config(Config& config) {
  if (!config.peft.path.empty()) complete_adapter_config(config, read_adapter_config(config.peft.path));
}

void complete_adapter_config(Config& config, PeftSection found) {
  const std::string path = config.peft.path;
  found.path = path;
  found.loraplus_lr_ratio = config.peft.loraplus_lr_ratio;
  if (found.type == "adalora") keep_schedule(config, found);
  Config of_folder = config;
  of_folder.peft = found;
  for (const auto& [key, place] : config.file.places) {
    if (!key.starts_with("peft.")) continue;
    const std::string given = value_of_key(config, key), of_file = value_of_key(of_folder, key);
    if (given != of_file)
      throw UserError("{}: found {}, but the adapter in peft.path, '{}', has {}; leave it out", place,
                      shortened(given), path, shortened(of_file));
  }
  config.peft = std::move(found);
}

static nlohmann::ordered_json saved_modules(const ModelSpec& model) {
  std::set<std::string> saved;
  for (const Parameter& parameter : model_parameters(model))
    if (parameter.is_saved && !parameter.is_adapter &&
        parameter.name.ends_with(".weight"))  // a bias alone is not
      saved.insert(parameter.name.substr(0, parameter.name.rfind('.')));
  return saved.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(saved);
}

nlohmann::ordered_json adapter_config_of(const Config& config, const ModelSpec& model) {
  const AdapterKind& kind = adapter_kind(config.peft.type);
  nlohmann::ordered_json object{
      {"peft_type", kind.peft_type},
      {"task_type", "CAUSAL_LM"},
      {"base_model_name_or_path", std::filesystem::absolute(config.model.path).lexically_normal().string()},
      {"inference_mode", true}};
  if (kind.saves_modules) object["modules_to_save"] = saved_modules(model);
  kind.write(config, model, object);
  return object;
}

}  // namespace collie
