#include "runtime/likelihood_set.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "runtime/evaluator_core.hpp"

namespace collie {
namespace {

// The tokens but the last, each with the next as its label where that is the option's.
void append_option(const LikelihoodOption& option, int64_t number, MicroBatch& batch) {
  const auto inputs = static_cast<int64_t>(option.tokens.size()) - 1;
  for (int64_t i = 0; i < inputs; ++i) {
    const bool target = i + 1 >= option.first;
    batch.tokens.push_back(option.tokens[static_cast<size_t>(i)]);
    batch.labels.push_back(target ? option.tokens[static_cast<size_t>(i) + 1] : -100);
    batch.positions.push_back(static_cast<int32_t>(i));
    batch.target_tokens += target;
  }
  batch.first_tokens.push_back(number);
  batch.document_starts.push_back(static_cast<int32_t>(batch.tokens.size()));
}

}  // namespace

int64_t best_option(std::span<const double> scores) {
  if (std::any_of(scores.begin(), scores.end(), [](double score) { return std::isnan(score); })) return -1;
  return std::max_element(scores.begin(), scores.end()) - scores.begin();
}

LikelihoodSet::LikelihoodSet(std::string name, std::vector<LikelihoodSample> samples, OptionScore score,
                             int64_t tokens, const std::vector<MetricConfig>& metrics)
    : name_(std::move(name)), samples_(std::move(samples)), score_(score), tokens_(tokens), scores_(metrics) {
  for (size_t sample = 0; sample < samples_.size(); ++sample)
    for (size_t option = 0; option < samples_[sample].options.size(); ++option)
      places_.push_back({sample, option});
}

void LikelihoodSet::start(int64_t step) {
  step_ = step;
  next_ = 0;
  found_.clear();
  for (const LikelihoodSample& sample : samples_) found_.emplace_back(sample.options.size(), std::nan(""));
}

MicroBatch LikelihoodSet::next_micro_batch() {
  MicroBatch batch = empty_micro_batch();
  for (; next_ < places_.size(); ++next_) {
    const LikelihoodOption& option = at(places_[next_]);
    const size_t after = batch.tokens.size() + option.tokens.size() - 1;
    if (!batch.tokens.empty() && after > static_cast<size_t>(tokens_)) break;
    append_option(option, static_cast<int64_t>(next_), batch);
  }
  return batch;
}

std::optional<ProgramRequest> LikelihoodSet::next(Asker& asker) {
  if (next_ == places_.size()) return std::nullopt;
  auto batch = std::make_shared<StepBatch>();
  batch->step = step_;
  for (int64_t i = 0; i < EvaluatorCore::micro_batches_per_program && next_ < places_.size(); ++i) {
    batch->micro_batches.push_back(next_micro_batch());
    batch->global_target_tokens += batch->micro_batches.back().target_tokens;
  }
  ProgramRequest request = asker.ask(evaluation_program, std::move(batch));
  request.per_document = true;
  return request;
}

double LikelihoodSet::score_of(const Place& place, double log_likelihood) const {
  const LikelihoodOption& option = at(place);
  switch (score_) {
    case OptionScore::sum:
      return log_likelihood;
    case OptionScore::mean:
      return log_likelihood / static_cast<double>(static_cast<int64_t>(option.tokens.size()) - option.first);
    case OptionScore::bytes:
      return log_likelihood / static_cast<double>(option.bytes);
  }
  COLLIE_ASSERT(false, "unknown score {}", static_cast<int>(score_));
}

void LikelihoodSet::add(const ProgramReply& reply) {
  const auto &numbers = values_of(reply, documents_name), &losses = values_of(reply, document_loss_sums_name);
  for (size_t i = 0; i < numbers.size(); ++i) {
    const Place& place = places_.at(static_cast<size_t>(static_cast<double>(numbers[i])));
    found_[place.sample][place.option] = score_of(place, -static_cast<double>(losses[i]));
  }
}

std::vector<NamedNumber> LikelihoodSet::results() const {
  SetScores scores = scores_;
  for (size_t i = 0; i < samples_.size(); ++i)
    scores.add(ClassSample{best_option(found_[i]), samples_[i].label, found_[i]});
  return scores.results();
}

std::string LikelihoodSet::predictions() const {
  std::string text;
  for (size_t i = 0; i < samples_.size(); ++i)
    text += prediction_line({{"set", name_},
                             {"sample", i},
                             {"predicted", best_option(found_[i])},
                             {"label", samples_[i].label},
                             {"scores", found_[i]}});
  return text;
}

}  // namespace collie
