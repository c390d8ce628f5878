#include "io/optimizer_options.hpp"

#include "io/config_schema.hpp"

namespace collie {

namespace {

constexpr const char* lr_scale = "lr_scale";

void check_rule(const std::string& rule, const OptionValues& given, const std::string& section,
                const PlaceOfKey& place) {
  check_given(rule, optimizer_declarations().find(rule, place(section + ".name")), given, section, place);
}

}  // namespace

Registry<OptimizerDeclaration>& optimizer_declarations() {
  static Registry<OptimizerDeclaration>& registry = []() -> Registry<OptimizerDeclaration>& {
    static Registry<OptimizerDeclaration> all("optimizer", "optimizer.name");
    for (const ElementwiseRule& rule : elementwise_rules())
      all.add(rule.name, {{rule.options, rule.complaint}, rule.keys});
    for (const FactoredRule& rule : factored_rules()) all.add(rule.name, {{rule.options}, rule.keys});
    for (const OrthogonalRule& rule : orthogonal_rules()) all.add(rule.name, {{rule.options}, {}});
    for (const QuantisedRule& rule : quantised_rules()) all.add(rule.name, {{rule.options}, rule.keys});
    return all;
  }();
  return registry;
}

OptionValues options_in_force(const OptimizerConfig& optimizer) {
  return with_defaults(optimizer_declarations().find(optimizer.name).options, optimizer.options);
}

const std::string& rule_of(const OptimizerConfig& optimizer, const OptimizerGroup& group) {
  return group.name.empty() ? optimizer.name : group.name;
}

OptionValues options_in_force(const OptimizerConfig& optimizer, const OptimizerGroup& group) {
  const std::string& rule = rule_of(optimizer, group);
  OptionValues given = rule == optimizer.name ? optimizer.options : OptionValues();
  for (const auto& [name, value] : group.options.all())
    if (name != lr_scale) given.set(name, value);
  OptionValues values = with_defaults(optimizer_declarations().find(rule).options, given);
  if (group.options.has(lr_scale)) values.set("lr", group.options.number(lr_scale) * values.number("lr"));
  return values;
}

bool OptimizerConfig::operator==(const OptimizerConfig& other) const {
  if (name != other.name || master != other.master || grad_dtype != other.grad_dtype ||
      rounding != other.rounding || groups != other.groups || state_dtype != other.state_dtype ||
      decay_norms_and_biases != other.decay_norms_and_biases || fused_update != other.fused_update ||
      ema_decay != other.ema_decay)
    return false;
  if (!optimizer_declarations().contains(name)) return options == other.options;
  return options_in_force(*this) == options_in_force(other);
}

void check_options(const OptimizerConfig& optimizer, const PlaceOfKey& place) {
  const auto check_together_of = [&](const std::string& rule, const OptionValues& in_force,
                                     const std::string& section) {
    check_together(optimizer_declarations().find(rule), in_force, section, place);
  };
  check_rule(optimizer.name, optimizer.options, "optimizer", place);
  check_together_of(optimizer.name, options_in_force(optimizer), "optimizer");
  for (size_t i = 0; i < optimizer.groups.size(); ++i) {
    OptimizerGroup group = optimizer.groups[i];
    const std::string section = fmt::format("optimizer.groups.{}", i);
    for (const config::Key& key : config::group_schema(optimizer, group, section, place(section + ".name")))
      key.check(place(key.path));
    if (group.match.empty())
      throw UserError(
          "{}: missing; a list of patterns for the names of parameters, such as [\"*norm*\"], is wanted",
          place(section + ".match"));
    if (group.options.has("lr") && group.options.has(lr_scale))
      throw UserError("{}: found beside lr; one of the two is wanted", place(section + "." + lr_scale));
    group.options.erase(lr_scale);
    check_rule(rule_of(optimizer, group), group.options, section, place);
    check_together_of(rule_of(optimizer, group), options_in_force(optimizer, group), section);
  }
}

void set_key_defaults(Config& config, const std::function<bool(const std::string& key)>& given) {
  const KeyDefaults keys = optimizer_declarations().find(config.optimizer.name).keys;
  OptimizerConfig& optimizer = config.optimizer;
  if (keys.master && !given("optimizer.master")) optimizer.master = *keys.master;
  // Elsewhere there is nothing to round.
  const bool rounds_weights = config.model.dtype == "bfloat16" && !optimizer.master;
  if (keys.rounding && rounds_weights && !given("optimizer.rounding")) optimizer.rounding = *keys.rounding;
  if (keys.fused_update && !given("optimizer.fused_update")) optimizer.fused_update = *keys.fused_update;
  if (keys.scheduler && !given("lr_scheduler.name")) config.lr_scheduler.name = *keys.scheduler;
}

}  // namespace collie
