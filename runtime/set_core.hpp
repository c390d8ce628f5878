// The rules for evaluating one set of samples: which programs it asks for, and what comes of their values.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "metrics/metric.hpp"
#include "runtime/asker.hpp"

namespace collie {

// The metrics of a set, and the sums of its samples so far. No sample's share depends on the layout, and sums
// are exact, so the results do not either.
class SetScores {
 public:
  explicit SetScores(const std::vector<MetricConfig>& metrics);

  void clear();
  void add(const TokenSums& sample);
  void add(const ClassSample& sample);
  void add(const TextSample& sample);
  std::vector<NamedNumber> results() const;

 private:
  template <class Sums>
  void add_to_each(const Sums& sums_of);

  std::vector<std::shared_ptr<const Metric>> metrics_;
  std::vector<MetricSums> sums_;
};

class SetCore {
 public:
  virtual ~SetCore() = default;
  // Begins an evaluation of the weights after `step`.
  virtual void start(int64_t step) = 0;
  // The next program; none after the last one.
  virtual std::optional<ProgramRequest> next(Asker& asker) = 0;
  virtual void add(const ProgramReply& reply) = 0;  // the answer to it
  // After the last one: the numbers, and, if they are wanted, the predictions: JSON Lines, by sample.
  virtual std::vector<NamedNumber> results() const = 0;
  virtual std::string predictions() const { return ""; }
  // Whether the ranks hold keys and values for it, until somebody says that they are not needed.
  virtual bool decodes() const { return false; }
};

// A line of predictions. Bytes that are not UTF-8 are replaced.
std::string prediction_line(const nlohmann::ordered_json& prediction);

}  // namespace collie
