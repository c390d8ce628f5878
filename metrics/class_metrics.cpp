// Metrics of classification sets.
#include <fmt/format.h>

#include <algorithm>

#include "metrics/built_in.hpp"
#include "metrics/share.hpp"

namespace collie {
namespace {

class Accuracy : public Metric {
 public:
  MetricSums of_class(const ClassSample& sample) const override {
    return {1, sample.predicted == sample.label ? 1.0 : 0.0};
  }

  std::vector<NamedNumber> result(const MetricSums& sums) const override {
    return {{"accuracy", share_of(sum_at(sums, 1), sum_at(sums, 0))}};
  }
};

// How many samples of a class are given it, are given it or another's, and belong to it.
struct ClassCounts {
  double right = 0, predicted = 0, actual = 0;

  bool occurs() const { return predicted > 0 || actual > 0; }
  void add(const ClassCounts& more) {
    right += more.right;
    predicted += more.predicted;
    actual += more.actual;
  }
};

constexpr size_t sums_of_class = 3;

using ClassScore = std::function<double(const ClassCounts& counts)>;

double or_zero(double part, double whole) {
  return whole == 0 ? 0 : part / whole;
}

double precision_of(const ClassCounts& counts) {
  return or_zero(counts.right, counts.predicted);
}

double recall_of(const ClassCounts& counts) {
  return or_zero(counts.right, counts.actual);
}

// A score that is computed of each class's counts, which are the sums. Classes that the sums do not have do
// not occur.
class ClassAverage : public Metric {
 public:
  ClassAverage(std::string name, ClassScore score, const OptionValues& options)
      : name_(std::move(name)),
        score_(std::move(score)),
        average_(options.text("average")),
        positive_(static_cast<size_t>(options.whole_number("positive_class"))) {}

  MetricSums of_class(const ClassSample& sample) const override {
    COLLIE_ASSERT(sample.label >= 0, "a sample without a label");
    const auto classes = static_cast<size_t>(std::max(sample.label, sample.predicted)) + 1;
    MetricSums sums(sums_of_class * classes);
    sums[sums_of_class * static_cast<size_t>(sample.label) + 2] = 1;
    if (sample.predicted < 0) return sums;
    double* const predicted = &sums[sums_of_class * static_cast<size_t>(sample.predicted)];
    predicted[0] = sample.predicted == sample.label ? 1 : 0;
    predicted[1] = 1;
    return sums;
  }

  std::vector<NamedNumber> result(const MetricSums& sums) const override {
    std::vector<NamedNumber> numbers{{name_, average_of(sums)}};
    if (average_ == "per_class") add_each(sums, numbers);
    return numbers;
  }

 private:
  static ClassCounts counts_of(const MetricSums& sums, size_t index) {
    const size_t at = sums_of_class * index;
    return {sum_at(sums, at), sum_at(sums, at + 1), sum_at(sums, at + 2)};
  }

  static ClassCounts all_of(const MetricSums& sums) {
    ClassCounts all;
    for (size_t i = 0; i < sums.size() / sums_of_class; ++i) all.add(counts_of(sums, i));
    return all;
  }

  double average_of(const MetricSums& sums) const {
    if (sums.empty()) return std::numeric_limits<double>::quiet_NaN();
    if (average_ == "micro") return score_(all_of(sums));
    if (average_ == "binary") return score_(counts_of(sums, positive_));
    return mean_of(sums, average_ == "weighted");
  }

  double mean_of(const MetricSums& sums, bool weighted) const {
    double total = 0, weights = 0;
    for (size_t i = 0; i < sums.size() / sums_of_class; ++i) {
      const ClassCounts counts = counts_of(sums, i);
      if (!counts.occurs()) continue;
      const double weight = weighted ? counts.actual : 1;
      total += weight * score_(counts);
      weights += weight;
    }
    return share_of(total, weights);
  }

  void add_each(const MetricSums& sums, std::vector<NamedNumber>& numbers) const {
    for (size_t i = 0; i < sums.size() / sums_of_class; ++i)
      if (counts_of(sums, i).occurs())
        numbers.push_back({fmt::format("{}_{}", name_, i), score_(counts_of(sums, i))});
  }

  std::string name_;
  ClassScore score_;
  std::string average_;
  size_t positive_;
};

}  // namespace

std::unique_ptr<Metric> make_accuracy(const OptionValues&) {
  return std::make_unique<Accuracy>();
}

std::unique_ptr<Metric> make_f_beta(const OptionValues& options) {
  const double square = options.number("beta") * options.number("beta");
  // (1 + beta²) right / (beta² actual + predicted): the same without a division of divisions.
  const ClassScore score = [square](const ClassCounts& counts) {
    return or_zero((1 + square) * counts.right, square * counts.actual + counts.predicted);
  };
  return std::make_unique<ClassAverage>("f_beta", score, options);
}

std::unique_ptr<Metric> make_precision(const OptionValues& options) {
  return std::make_unique<ClassAverage>("precision", precision_of, options);
}

std::unique_ptr<Metric> make_recall(const OptionValues& options) {
  return std::make_unique<ClassAverage>("recall", recall_of, options);
}

}  // namespace collie
