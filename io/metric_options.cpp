#include "io/metric_options.hpp"

#include <algorithm>

#include "base/nearest_name.hpp"
#include "base/quote.hpp"

namespace collie {
namespace {

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
