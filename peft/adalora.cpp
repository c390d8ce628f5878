// AdaLoRA (Zhang et al., arXiv 2303.10512) as Hugging Face's peft has it: triplets, of which those that
// matter least are lost while they are trained (optim/rank_allocation.hpp).
#include <algorithm>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "models/adapters.hpp"
#include "peft/adapter_kind.hpp"
#include "peft/low_rank_choice.hpp"

namespace collie {
namespace {

constexpr const char* end_of_values = ".lora_E";

// Of a folder whose triplets have been chosen: the matrix's number of them. By name, not by pattern.
int64_t rank_of_matrix(const PeftSection& peft, const std::string& matrix) {
  for (const auto& [name, rank] : peft.rank_pattern.items)
    if (name == matrix) return static_cast<int64_t>(rank);
  return peft.init_r;
}

LowRankAdapter triplets_of(const PeftSection& peft, const std::string& matrix) {
  LowRankAdapter adapter;
  adapter.has_values = true;
  adapter.is_allocated = peft.rank_pattern.items.empty();
  adapter.rank = rank_of_matrix(peft, matrix);
  // peft divides by the first rank, and by a little more, so that it never divides by 0.
  adapter.scale = peft.lora_alpha / (static_cast<double>(peft.init_r) + 1e-5);
  adapter.dropout = peft.lora_dropout;
  if (peft.init_lora_weights == "false") adapter.start = AdapterStart::random;
  return adapter;
}

// A matrix that has lost all of its triplets has no term.
void set_orthogonality(const PeftSection& peft, ModelSpec& model) {
  int64_t terms = 0;
  for (const auto& [name, adapters] : model.adapters) terms += adapters.front().rank > 0 ? 2 : 0;
  for (auto& [name, adapters] : model.adapters)
    adapters.front().orthogonality = peft.orth_reg_weight / static_cast<double>(std::max<int64_t>(terms, 1));
}

void add_adalora(const Config& config, ModelSpec& model) {
  const PeftSection& peft = config.peft;
  const ModuleChoice choice(config, model);
  for (const ModelModule& module : low_rank_targets(peft, choice)) {
    if (const int64_t most = std::min(module.in, module.out); peft.init_r > most && peft.path.empty())
      throw UserError("{}: {} is more than {} [{}, {}] has; at most {} is right", choice.place("init_r"),
                      peft.init_r, module.name, module.out, module.in, most);
    model.adapters[module.name] = {triplets_of(peft, module.name)};
  }
  set_orthogonality(peft, model);
  model.trained = {"*.lora_A", "*.lora_B", "*.lora_E"};
  train_beside_adapters(peft, choice, model);
}

// {MODULE.lora_E: [which of its triplets are kept]}
void read_kept(const AdapterConfigFile& file, PeftSection& peft) {
  const nlohmann::json* const pattern = file.find("rank_pattern");
  if (pattern == nullptr) return;
  if (!pattern->is_object()) file.refuse("rank_pattern", *pattern, "an object of names and lists");
  for (const auto& [name, kept] : pattern->items()) {
    const size_t end = name.rfind(end_of_values);
    const bool right =
        end != std::string::npos && kept.is_array() &&
        std::all_of(kept.begin(), kept.end(), [](const nlohmann::json& each) { return each.is_boolean(); });
    if (!right)
      file.refuse("rank_pattern." + shortened(name), kept, "MODULE.lora_E and a list of true and false");
    peft.rank_pattern.items.emplace_back(name.substr(0, end),
                                         static_cast<double>(std::count(kept.begin(), kept.end(), true)));
  }
}

// How a run of peft was to go on is read, too, because keys that are not given mean what the folder says.
void read_schedule(const AdapterConfigFile& file, PeftSection& peft) {
  const auto whole_or_zero = [&](const char* key, int64_t otherwise) {
    return static_cast<int64_t>(file.number(key, static_cast<double>(otherwise), NumberRange::at_least(0)));
  };
  peft.target_r = file.whole("target_r", peft.target_r);
  peft.tinit = whole_or_zero("tinit", peft.tinit);
  peft.tfinal = whole_or_zero("tfinal", peft.tfinal);
  peft.deltaT = whole_or_zero("deltaT", peft.deltaT);
  peft.beta1 = file.number("beta1", peft.beta1, NumberRange{0, 1, true, true});
  peft.beta2 = file.number("beta2", peft.beta2, NumberRange{0, 1, true, true});
  peft.orth_reg_weight = file.number("orth_reg_weight", peft.orth_reg_weight, NumberRange::at_least(0));
}

PeftSection read_adalora(const AdapterConfigFile& file) {
  std::set<std::string> known = common_adapter_keys();
  known.insert({"beta1", "beta2", "bias", "deltaT", "init_lora_weights", "init_r", "layers_to_transform",
                "lora_alpha", "lora_dropout", "orth_reg_weight", "r", "rank_pattern", "target_r", "tfinal",
                "tinit", "total_step"});
  // Keys of LoRA that peft writes with these defaults, and does not read here.
  known.insert({"loftq_config", "megatron_core", "qalora_group_size", "runtime_config"});
  file.check_keys(known);
  PeftSection peft;
  peft.init_r = file.whole("init_r", peft.init_r);
  peft.lora_alpha = file.number("lora_alpha", peft.lora_alpha, NumberRange::from_to(1e-300, 1e6));
  peft.lora_dropout = file.number("lora_dropout", peft.lora_dropout, NumberRange::from_to_below(0, 1));
  peft.bias = file.text("bias", {"none", "all", "lora_only"}, "none");
  read_schedule(file, peft);
  read_kept(file, peft);
  file.read_blocks(peft);
  peft.target_modules = file.read_modules("target_modules", ".lora_A");
  file.read_saved(".lora_A", peft);
  return peft;
}

// peft makes as many triplets as init_r says, and drops those that are not kept before it reads the others.
// The file has those that are kept alone, so which of them they were does not matter.
nlohmann::ordered_json fixed_pattern(const PeftSection& peft, const ModelSpec& model) {
  if (peft.rank_pattern.items.empty()) return nullptr;
  nlohmann::ordered_json pattern = nlohmann::ordered_json::object();
  for (const auto& [matrix, adapters] : model.adapters) {
    std::vector<bool> kept(static_cast<size_t>(peft.init_r), false);
    std::fill_n(kept.begin(), adapters.front().rank, true);
    pattern[matrix + end_of_values] = kept;
  }
  return pattern;
}

void write_adalora(const Config& config, const ModelSpec& model, nlohmann::ordered_json& object) {
  const PeftSection& peft = config.peft;
  object["init_r"] = peft.init_r;
  object["target_r"] = peft.target_r;
  object["tinit"] = peft.tinit;
  object["tfinal"] = peft.tfinal;
  object["deltaT"] = peft.deltaT;
  object["beta1"] = peft.beta1;
  object["beta2"] = peft.beta2;
  object["orth_reg_weight"] = peft.orth_reg_weight;
  // Without room for a decision peft refuses to read the folder.
  object["total_step"] = std::max(peft.total_step.value_or(0), peft.tinit + peft.tfinal + 1);
  object["lora_alpha"] = peft.lora_alpha;
  object["lora_dropout"] = peft.lora_dropout;
  object["bias"] = peft.bias;
  object["fan_in_fan_out"] = has_transposed(model);
  object["init_lora_weights"] = peft.init_lora_weights != "false";
  object["rank_pattern"] = fixed_pattern(peft, model);
  std::set<std::string> modules;
  for (const auto& [name, adapters] : model.adapters) modules.insert(name);
  write_targets(peft, modules, object);
}

}  // namespace

AdapterKind adalora_kind() {
  return {"adalora", "ADALORA", true, add_adalora, read_adalora, write_adalora};
}

}  // namespace collie
