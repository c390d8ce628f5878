// LoRA (arXiv 2106.09685) and its kin: rsLoRA (2312.03732), LoRA+ (2402.12354), DoRA (2402.09353).
#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/json_text.hpp"
#include "io/tokenizers/text_pattern.hpp"
#include "peft/adapter_folder.hpp"
#include "peft/adapter_kind.hpp"
#include "peft/low_rank_choice.hpp"

namespace collie {
namespace {

class LoraModel {
 public:
  LoraModel(const Config& config, ModelSpec& model)
      : peft_(config.peft), model_(model), choice_(config, model) {}

  void add_adapters() {
    const std::string& start = peft_.init_lora_weights;
    if (peft_.use_dora && (start == "pissa" || start == "olora"))
      throw UserError(
          "{}: found {} with peft.use_dora, and what is left of a matrix has no adapter of the original one "
          "then; true or gaussian is right",
          choice_.place("init_lora_weights"), start);
    const std::vector<ModelModule> targets = low_rank_targets(peft_, choice_);
    check_patterns(peft_.rank_pattern, "rank_pattern", targets);
    check_patterns(peft_.alpha_pattern, "alpha_pattern", targets);
    for (const ModelModule& module : targets) add_adapter(module);
    model_.trained = {"*.lora_A.weight", "*.lora_B.weight", "*.lora_magnitude_vector"};
    if (!peft_.use_dora) model_.trained.pop_back();
    train_beside_adapters(peft_, choice_, model_);
  }

 private:
  // As peft: the first expression that matches the name, or what is behind one of its dots.
  const double* value_for(const PatternNumbers& patterns, const char* key, const std::string& module) const {
    for (const auto& [pattern, value] : patterns.items)
      if (matches_expression(pattern, key, module)) return &value;
    return nullptr;
  }

  // peft ignores an expression that matches nothing, and so does a folder of its.
  void check_patterns(const PatternNumbers& patterns, const char* key,
                      const std::vector<ModelModule>& targets) const {
    if (!peft_.path.empty()) return;
    for (const auto& [pattern, value] : patterns.items)
      if (std::none_of(targets.begin(), targets.end(), [&](const ModelModule& module) {
            return matches_expression(pattern, key, module.name);
          }))
        throw UserError("{}: '{}' matches no matrix with an adapter; they are {}", choice_.place(key),
                        shortened(pattern), names_in_words(targets, [](const ModelModule&) { return true; }));
  }

  bool matches_expression(const std::string& pattern, const char* key, const std::string& module) const {
    const nlohmann::json text = pattern;
    const auto expression = regular_expression("^(?:.*\\.)?(?:" + pattern + ")$",
                                               JsonPlace(text, choice_.place(key), shortened(pattern)));
    std::vector<PatternPart> parts;
    expression->find(module, parts);
    return std::any_of(parts.begin(), parts.end(), [](const PatternPart& part) { return part.matches; });
  }

  void add_adapter(const ModelModule& module) {
    const double *r = value_for(peft_.rank_pattern, "rank_pattern", module.name),
                 *alpha = value_for(peft_.alpha_pattern, "alpha_pattern", module.name);
    LowRankAdapter adapter;
    adapter.rank = r != nullptr ? static_cast<int64_t>(*r) : peft_.r;
    // A folder may have more: that of PiSSA and OLoRA has twice the rank that was trained.
    const int64_t most = std::min(module.in, module.out);
    if (adapter.rank > most && peft_.path.empty())
      throw UserError("{}: {} is more than {} [{}, {}] has; at most {} is right",
                      choice_.place(r != nullptr ? "rank_pattern" : "r"), adapter.rank, module.name,
                      module.out, module.in, most);
    const double given = alpha != nullptr ? *alpha : peft_.lora_alpha;
    const auto rank = static_cast<double>(adapter.rank);
    adapter.scale = given / (peft_.use_rslora ? std::sqrt(rank) : rank);
    adapter.dropout = peft_.lora_dropout;
    if (peft_.init_lora_weights == "gaussian") adapter.start = AdapterStart::gaussian;
    if (peft_.init_lora_weights == "false") adapter.start = AdapterStart::random;
    if (peft_.init_lora_weights == "pissa") adapter.start = AdapterStart::principal;
    if (peft_.init_lora_weights == "olora") adapter.start = AdapterStart::orthogonal;
    adapter.has_magnitude = peft_.use_dora;
    model_.adapters[module.name] = {adapter};
  }

  const PeftSection& peft_;
  ModelSpec& model_;
  ModuleChoice choice_;
};

void add_lora(const Config& config, ModelSpec& model) {
  LoraModel(config, model).add_adapters();
}

void read_start(const AdapterConfigFile& file, PeftSection& peft) {
  const nlohmann::json* const start = file.find("init_lora_weights");
  if (start == nullptr || *start == true) return;
  if (*start != false && *start != "gaussian")
    file.refuse(
        "init_lora_weights", *start,
        "true, false or \"gaussian\" (an adapter that changed the model's weights is saved for the original "
        "ones by peft's path_initial_model_for_weight_conversion)");
  peft.init_lora_weights = *start == false ? "false" : "gaussian";
}

PeftSection read_lora(const AdapterConfigFile& file) {
  std::set<std::string> known = common_adapter_keys();
  known.insert({"alpha_pattern", "bias", "init_lora_weights", "layers_to_transform", "loftq_config",
                "lora_alpha", "lora_dropout", "megatron_core", "qalora_group_size", "r", "rank_pattern",
                "runtime_config", "use_dora", "use_rslora"});
  file.check_keys(known);
  PeftSection peft;
  peft.r = file.whole("r", peft.r);
  peft.lora_alpha = file.number("lora_alpha", peft.lora_alpha, NumberRange{0, 1e6, true});
  peft.lora_dropout = file.number("lora_dropout", peft.lora_dropout, NumberRange::from_to_below(0, 1));
  peft.use_rslora = file.flag("use_rslora");
  peft.use_dora = file.flag("use_dora");
  peft.bias = file.text("bias", {"none", "all", "lora_only"}, "none");
  read_start(file, peft);
  file.read_patterns("rank_pattern", true, peft.rank_pattern);
  file.read_patterns("alpha_pattern", false, peft.alpha_pattern);
  file.read_blocks(peft);
  peft.target_modules = file.read_modules("target_modules", ".lora_A");
  file.read_saved(".lora_A", peft);
  return peft;
}

void write_lora(const Config& config, const ModelSpec& model, nlohmann::ordered_json& object) {
  const PeftSection& peft = config.peft;
  object["r"] = peft.r;
  object["lora_alpha"] = peft.lora_alpha;
  object["lora_dropout"] = peft.lora_dropout;
  object["bias"] = peft.bias;
  object["use_rslora"] = peft.use_rslora;
  object["use_dora"] = peft.use_dora;
  object["fan_in_fan_out"] = has_transposed(model);
  object["init_lora_weights"] = true;
  if (peft.init_lora_weights == "gaussian") object["init_lora_weights"] = "gaussian";
  if (peft.init_lora_weights == "false") object["init_lora_weights"] = false;
  object["rank_pattern"] = object["alpha_pattern"] = nlohmann::ordered_json::object();
  for (const auto& [pattern, rank] : peft.rank_pattern.items)
    object["rank_pattern"][pattern] = static_cast<int64_t>(rank);
  for (const auto& [pattern, alpha] : peft.alpha_pattern.items) object["alpha_pattern"][pattern] = alpha;
  std::set<std::string> modules;
  for (const auto& [name, adapters] : model.adapters) modules.insert(name);
  write_targets(peft, modules, object);
}

}  // namespace

AdapterKind lora_kind() {
  return {"lora", "LORA", true, add_lora, read_lora, write_lora};
}

}  // namespace collie
