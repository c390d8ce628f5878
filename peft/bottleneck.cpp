// Bottleneck adapters, by the names of the library `adapters` (arXiv 2311.11077): double_seq_bn (Houlsby et
// al., arXiv 1902.00751), seq_bn (Pfeiffer et al., arXiv 2005.00247), par_bn (He et al., arXiv 2110.04366).
#include <algorithm>
#include <map>

#include "base/error.hpp"
#include "peft/adapter_kind.hpp"
#include "peft/module_choice.hpp"

namespace collie {
namespace {

using Reads = BottleneckAdapter::Reads;

struct Architecture {
  const char* name;
  Reads reads;
  bool after_attention, starts_as_nothing;
  double reduction_factor, scaling;
  const char* non_linearity;
};

const std::vector<Architecture>& architectures() {
  static const std::vector<Architecture> all = {{"seq_bn", Reads::sum, false, false, 16, 1, "relu"},
                                                {"double_seq_bn", Reads::given, true, false, 16, 1, "silu"},
                                                {"par_bn", Reads::input, false, true, 2, 4, "relu"}};
  return all;
}

const std::map<std::string, Activation>& non_linearities() {
  static const std::map<std::string, Activation> all = {{"relu", Activation::relu},
                                                        {"silu", Activation::silu},
                                                        {"gelu", Activation::gelu},
                                                        {"gelu_new", Activation::gelu_tanh}};
  return all;
}

const Architecture& architecture_of(const PeftSection& peft) {
  const auto found = std::find_if(architectures().begin(), architectures().end(),
                                  [&](const Architecture& each) { return each.name == peft.adapter_config; });
  COLLIE_ASSERT(found != architectures().end(), "no architecture '{}'", peft.adapter_config);
  return *found;
}

// With the architecture's values in place of those that are not given.
PeftSection completed(PeftSection peft) {
  const Architecture& architecture = architecture_of(peft);
  if (peft.reduction_factor == 0) peft.reduction_factor = architecture.reduction_factor;
  if (peft.scaling == 0) peft.scaling = architecture.scaling;
  if (peft.non_linearity == "auto") peft.non_linearity = architecture.non_linearity;
  return peft;
}

void add_bottlenecks(const Config& config, ModelSpec& model) {
  const ModuleChoice choice(config, model);
  const Architecture& architecture = architecture_of(config.peft);
  const PeftSection peft = completed(config.peft);
  BottleneckAdapter adapter;
  adapter.size = std::max<int64_t>(
      1, static_cast<int64_t>(static_cast<double>(model.architecture.hidden_size) / peft.reduction_factor));
  adapter.activation = non_linearities().at(peft.non_linearity);
  adapter.scale = peft.scaling;
  adapter.reads = architecture.reads;
  adapter.after_attention = architecture.after_attention;
  adapter.starts_as_nothing = architecture.starts_as_nothing;
  if (adapter.reads == Reads::sum && model.architecture.parallel_branches)
    throw UserError(
        "{}: found seq_bn, which reads what comes after both branches of a block, but here these are side by "
        "side; double_seq_bn or par_bn is right",
        choice.place("adapter_config"));
  model.bottleneck = adapter;
  model.trained = {"*_adapters.adapter_down.*", "*_adapters.adapter_up.*"};
  for (const std::string& name : choice.saved_modules(model)) model.trained.push_back(name + ".*");
}

PeftSection read_bottleneck(const AdapterConfigFile& file) {
  std::set<std::string> known = common_adapter_keys();
  known.insert({"adapter_config", "reduction_factor", "scaling", "non_linearity"});
  file.check_keys(known);
  PeftSection peft;
  std::set<std::string> names, activations;
  for (const Architecture& architecture : architectures()) names.insert(architecture.name);
  for (const auto& [name, activation] : non_linearities()) activations.insert(name);
  peft.adapter_config = file.text("adapter_config", names, peft.adapter_config);
  const PeftSection otherwise = completed(peft);
  peft.reduction_factor =
      file.number("reduction_factor", otherwise.reduction_factor, NumberRange::from_to(1e-3, 65536));
  peft.scaling = file.number("scaling", otherwise.scaling, NumberRange::from_to(1e-6, 1e6));
  peft.non_linearity = file.text("non_linearity", activations, otherwise.non_linearity);
  file.read_saved(".adapter_down", peft);
  return peft;
}

void write_bottleneck(const Config& config, const ModelSpec&, nlohmann::ordered_json& object) {
  const PeftSection peft = completed(config.peft);
  object["adapter_config"] = peft.adapter_config;
  object["reduction_factor"] = peft.reduction_factor;
  object["scaling"] = peft.scaling;
  object["non_linearity"] = peft.non_linearity;
}

}  // namespace

AdapterKind bottleneck_kind() {
  return {"adapter", "BOTTLENECK", true, add_bottlenecks, read_bottleneck, write_bottleneck};
}

}  // namespace collie
