#include "io/metric_options.hpp"

#include <algorithm>

#include "base/nearest_name.hpp"
#include "base/quote.hpp"

namespace collie {
namespace {

MetricDeclaration of_sums(const std::string& doc, bool right_tokens = false) {
  return {{}, {SetKind::perplexity}, doc, right_tokens};
}

// Options of what is counted for each class.
std::vector<Option> class_options() {
  return {{.name = "average",
           .initial = "macro",
           .doc = "macro: the mean over the classes that occur; weighted: the same, weighted by samples of "
                  "each class; micro: of all classes' counts; per_class: macro, and a number for each class; "
                  "binary: of positive_class alone",
           .choices = {"macro", "weighted", "micro", "per_class", "binary"}},
          {.name = "positive_class",
           .initial = int64_t{1},
           .doc = "index of the option that average: binary is about",
           .range = NumberRange::at_least(0),
           .aliases = {"pos_label"}}};
}

MetricDeclaration of_classes(const std::string& doc, std::vector<Option> options = {}) {
  return {{std::move(options)}, {SetKind::classification}, doc};
}

MetricDeclaration f_beta() {
  std::vector<Option> options = class_options();
  options.insert(options.begin(), {.name = "beta",
                                   .initial = 1.0,
                                   .doc = "the weight of recall against precision",
                                   .range = NumberRange::above(0)});
  return of_classes("(1 + beta²) times precision times recall / (beta² times precision + recall)", options);
}

std::string kinds_of_metric(const MetricDeclaration& metric) {
  std::string kinds;
  for (const SetKind kind : metric.kinds) kinds += (kinds.empty() ? "" : " or ") + name_of(kind);
  return kinds;
}

std::string joined_names(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

bool fits_set(const MetricDeclaration& metric, SetKind kind) {
  return std::find(metric.kinds.begin(), metric.kinds.end(), kind) != metric.kinds.end();
}

std::vector<std::string> metrics_of(SetKind kind) {
  std::vector<std::string> names;
  for (const std::string& name : metric_declarations().names())
    if (fits_set(metric_declarations().find(name), kind)) names.push_back(name);
  return names;
}

[[noreturn]] void refuse_unknown_metric(const std::string& name, const std::string& place) {
  const std::vector<std::string> known = metric_declarations().names();
  const auto nearest = nearest_name(name, known);
  throw UserError("{}: unknown metric '{}'; {}known: {}", place, shortened(name),
                  nearest ? "the nearest is " + *nearest + "; " : "", joined_names(known));
}

}  // namespace

const std::string& name_of(SetKind kind) {
  static const std::string names[] = {"perplexity", "classification", "generation"};
  return names[static_cast<size_t>(kind)];
}

Registry<MetricDeclaration>& metric_declarations() {
  static Registry<MetricDeclaration>& registry = []() -> Registry<MetricDeclaration>& {
    static Registry<MetricDeclaration> all("metric", "eval.sets.metrics");
    all.add("perplexity", of_sums("exp of the mean loss of all tokens of the set"));
    all.add("loss", of_sums("the mean loss of all tokens of the set, in nats"));
    all.add("token_accuracy",
            of_sums("the share of tokens that are the most likely ones to the model", true));
    all.add("accuracy", of_classes("the share of samples whose right option is chosen"));
    all.add("f_beta", f_beta());
    all.add("precision",
            of_classes("how many of those that are given a class belong to it", class_options()));
    all.add("recall", of_classes("how many of those that belong to a class are given it", class_options()));
    return all;
  }();
  return registry;
}

MetricDeclaration find_metric(const std::string& name, SetKind kind, const std::string& place) {
  if (!metric_declarations().contains(name)) refuse_unknown_metric(name, place);
  MetricDeclaration metric = metric_declarations().find(name);
  if (!fits_set(metric, kind))
    throw UserError("{}: the metric {} is of a {} set, and this is a {} set, which may have {}", place, name,
                    kinds_of_metric(metric), name_of(kind), joined_names(metrics_of(kind)));
  return metric;
}

OptionValues options_in_force(const MetricConfig& metric) {
  return with_defaults(metric_declarations().find(metric.name).options, metric.options);
}

bool MetricConfig::operator==(const MetricConfig& other) const {
  if (name != other.name) return false;
  if (!metric_declarations().contains(name)) return options == other.options;
  return options_in_force(*this) == options_in_force(other);
}

void check_metric(const MetricConfig& metric, SetKind kind, const std::string& section,
                  const PlaceOfKey& place) {
  const MetricDeclaration declared = find_metric(metric.name, kind, place(section + ".name"));
  check_given(metric.name, declared, metric.options, section, place);
  check_together(declared, options_in_force(metric), section, place);
}

}  // namespace collie
