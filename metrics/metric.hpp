// Metrics: numbers that say how good a model's answers to a set are. A metric makes a few sums of each
// sample, and its result of the sums of all samples. So replicas that share a set add what they have, a
// checkpoint keeps it, and nothing is a mean of means. Terms are such that no addition is rounded
// (metrics/exact_sum.hpp is for those that are no whole numbers): results have the same bits however a set is
// divided.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/registry.hpp"
#include "io/metric_options.hpp"

namespace collie {

// A sample of a perplexity set: a document or a part of one.
struct TokenSums {
  double loss = 0;           // the sum of the cross-entropies of its targets, in nats
  int64_t tokens = 0;        // the number of targets
  int64_t right_tokens = 0;  // targets that are the model's most likely token; counted only for a metric that
                             // declares MetricDeclaration::right_tokens
};

// A sample of a classification set.
struct ClassSample {
  int64_t predicted = -1;          // index of the option that is chosen; -1: a generated text is no option
  int64_t label = 0;               // index of the right one
  std::span<const double> scores;  // of each option, by which it was chosen; empty for a generated text
};

// A sample of a generation set. Texts are UTF-8; what is not is read as U+FFFD.
struct TextSample {
  std::string_view text;  // generated, without the prompt
  std::span<const std::string> references;
};

struct NamedNumber {
  std::string name;
  double value;  // NaN: the sums do not say it, as those of no sample
};

// Sums of a set's samples, element by element. A vector that is shorter than another has zeros there.
using MetricSums = std::vector<double>;

// Adds the sums of other samples. Never rounds if the terms are a metric's.
void add_sums(MetricSums& sums, std::span<const double> more);

// Keeps no sample, so that many threads may use one. A metric has the function of each kind of set that it
// declares; the others throw std::logic_error.
class Metric {
 public:
  virtual ~Metric() = default;
  virtual MetricSums of_tokens(const TokenSums& sample) const;
  virtual MetricSums of_class(const ClassSample& sample) const;
  virtual MetricSums of_text(const TextSample& sample) const;
  // The main number first, by the metric's name; others have names that begin with it ("rouge1_recall").
  // Those of one sample's sums are the sample's own. The names depend on the options alone, but where there
  // is a number for each class.
  virtual std::vector<NamedNumber> result(const MetricSums& sums) const = 0;
};

// Makes a metric of the values of all its options.
using MetricFactory = std::function<std::unique_ptr<Metric>(const OptionValues& options)>;

Registry<MetricFactory>& metrics();

// Registers a metric of a host program or plugin with what it declares.
void add_metric(const std::string& name, MetricDeclaration declaration, MetricFactory factory);

// Throws UserError if there is no such metric. Options must be valid (check_metric()).
std::unique_ptr<Metric> make_metric(const MetricConfig& config);

}  // namespace collie
