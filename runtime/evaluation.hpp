// The rules of an evaluation: data.eval first, then the sets of eval.sets, one after another, each by
// programs that are asked for one at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/evaluator_core.hpp"
#include "runtime/set_core.hpp"

namespace collie {

class Evaluation {
 public:
  struct Set {
    std::string name;
    std::unique_ptr<SetCore> core;
    // Gets the predictions of the set when it is over; empty: nobody wants them. An exception of it leaves
    // add() or next().
    std::function<void(int64_t step, const std::string& lines)> keep = {};
  };

  // `losses`: of data.eval; null: there is none. There is something to evaluate.
  Evaluation(std::unique_ptr<EvaluatorCore> losses, std::vector<Set> sets);

  void start(int64_t step);  // with the weights after `step`
  // The next program; none after the last one.
  std::optional<ProgramRequest> next(Asker& asker);
  void add(const ProgramReply& reply);  // the answer to it
  EvaluationFinished result() const;    // after the last one, without the run's tag
  bool decodes() const;                 // whether ranks hold keys and values then (SetCore::decodes)

 private:
  void finish_set();

  std::unique_ptr<EvaluatorCore> losses_;
  std::vector<Set> sets_;
  size_t at_ = 0;  // 0: data.eval; n: sets_[n - 1]
  EvaluationFinished result_;
};

}  // namespace collie
