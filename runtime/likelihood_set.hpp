// A set of classification in which the option is chosen that the model finds the likeliest after the prompt.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/set_core.hpp"

namespace collie {

// How the log-likelihood of an option becomes its score: as it is, or divided by the option's tokens or
// bytes.
enum class OptionScore : uint8_t { sum, mean, bytes };

struct LikelihoodOption {
  std::vector<int32_t> tokens;  // prompt and option; two at least
  int64_t first = 1;            // the first token of the option, at least 1
  int64_t bytes = 1;            // of the option's text
};

struct LikelihoodSample {
  std::vector<LikelihoodOption> options;
  int64_t label = 0;
};

class LikelihoodSet final : public SetCore {
 public:
  // A micro-batch has at most `tokens` tokens, or one option. Each option is computed once, whatever the
  // layout; of several with the same score the first is chosen.
  LikelihoodSet(std::string name, std::vector<LikelihoodSample> samples, OptionScore score, int64_t tokens,
                const std::vector<MetricConfig>& metrics);

  void start(int64_t step) override;
  std::optional<ProgramRequest> next(Asker& asker) override;
  void add(const ProgramReply& reply) override;
  std::vector<NamedNumber> results() const override;
  std::string predictions() const override;

 private:
  struct Place {  // of an option
    size_t sample = 0, option = 0;
  };
  const LikelihoodOption& at(const Place& place) const {
    return samples_[place.sample].options[place.option];
  }
  double score_of(const Place& place, double log_likelihood) const;
  MicroBatch next_micro_batch();

  std::string name_;
  std::vector<LikelihoodSample> samples_;
  OptionScore score_;
  int64_t tokens_;
  SetScores scores_;
  std::vector<Place> places_;               // of all options; their index is the document's number
  std::vector<std::vector<double>> found_;  // [samples][options] scores
  size_t next_ = 0;
  int64_t step_ = 0;
};

// The index of the largest score, the first of equals; -1 if one is not a number.
int64_t best_option(std::span<const double> scores);

}  // namespace collie
