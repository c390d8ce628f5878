// Which metrics there are: the sets that each fits, and its options. What a metric computes is in
// metrics/metric.hpp.
#pragma once

#include <string>
#include <vector>

#include "base/option.hpp"
#include "base/registry.hpp"
#include "io/option_check.hpp"

namespace collie {

// What is evaluated on a set: the losses of its texts, which option of each sample is chosen, or what is
// generated after its prompts.
enum class SetKind { perplexity, classification, generation };

const std::string& name_of(SetKind kind);  // "perplexity"

struct MetricDeclaration : OptionDeclaration {
  std::vector<SetKind> kinds;  // the sets that it fits
  std::string doc;             // a line for the page of the keys
  // Of perplexity: it counts the tokens to which the model gives the highest probability
  // (TokenSums::right_tokens), which a pass has to count for it.
  bool right_tokens = false;
};

// Built in: perplexity, loss, token_accuracy; accuracy, f_beta, precision, recall; bleu, chrf, rouge1,
// rouge2, rougeL, rougeLsum, exact_match, numeric_answer. add_metric() (metrics/metric.hpp) adds those of a
// host program or plugin.
Registry<MetricDeclaration>& metric_declarations();

// A metric that a set names, and the options that were given.
struct MetricConfig {
  std::string name;
  OptionValues options = {};

  // Whether the same is computed.
  bool operator==(const MetricConfig& other) const;
};

// The declaration of `name`. Throws UserError with the nearest name and the known ones if there is none, and
// with those that fit if it does not fit a set of that kind. `place` begins the message ("c.yaml:3:
// eval.sets.0.metrics.1.name").
MetricDeclaration find_metric(const std::string& name, SetKind kind, const std::string& place);

// The metric's options: what was given, and the metric's own defaults for the rest. Throws UserError if there
// is no such metric.
OptionValues options_in_force(const MetricConfig& metric);

// Throws UserError as find_metric() does, if the metric lacks an option that is given, if a value is not
// valid, or if options contradict each other. `section` is the path of the metric's keys
// ("eval.sets.0.metrics.1").
void check_metric(const MetricConfig& metric, SetKind kind, const std::string& section,
                  const PlaceOfKey& place);

}  // namespace collie
