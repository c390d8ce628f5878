#include "runtime/evaluation.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace collie {

Evaluation::Evaluation(std::unique_ptr<EvaluatorCore> losses, std::vector<Set> sets)
    : losses_(std::move(losses)), sets_(std::move(sets)) {
  COLLIE_ASSERT(losses_ || !sets_.empty(), "there is nothing to evaluate");
}

void Evaluation::start(int64_t step) {
  result_ = {};
  result_.step = step;
  at_ = losses_ ? 0 : 1;
  if (losses_) losses_->start(step);
  for (Set& set : sets_) set.core->start(step);
}

std::optional<ProgramRequest> Evaluation::next(Asker& asker) {
  if (at_ == 0) {
    if (std::shared_ptr<const StepBatch> batch = losses_->next())
      return asker.ask(evaluation_program, std::move(batch));
    at_ = 1;
  }
  for (; at_ <= sets_.size(); ++at_) {
    if (std::optional<ProgramRequest> request = sets_[at_ - 1].core->next(asker)) return request;
    finish_set();
  }
  return std::nullopt;
}

void Evaluation::finish_set() {
  const Set& set = sets_[at_ - 1];
  for (const NamedNumber& number : set.core->results())
    result_.metrics.push_back({evaluated_metric_prefix + set.name + "/" + number.name, number.value});
  if (set.keep) set.keep(result_.step, set.core->predictions());
}

void Evaluation::add(const ProgramReply& reply) {
  if (at_ > 0) return sets_[at_ - 1].core->add(reply);
  const std::optional<EvaluationFinished> whole = losses_->add(value_of(reply, loss_sum_name));
  if (!whole) return;
  result_.tokens = whole->tokens;
  result_.loss = whole->loss;
  result_.perplexity = whole->perplexity;
}

EvaluationFinished Evaluation::result() const {
  COLLIE_ASSERT(at_ > sets_.size(), "the evaluation is not over");
  return result_;
}

bool Evaluation::decodes() const {
  return std::any_of(sets_.begin(), sets_.end(), [](const Set& set) { return set.core->decodes(); });
}

}  // namespace collie
