// The evaluator actor asks the trainer for evaluation programs, one at a time, and sums their losses.
#include "actors/caf_types.hpp"
#include "actors/guard.hpp"
#include "runtime/evaluator_core.hpp"

namespace collie {
namespace {

struct EvaluatorState {
  const char* name = "evaluator";
  std::unique_ptr<EvaluatorCore> core;
};
using EvaluatorActor = caf::stateful_actor<EvaluatorState>;

caf::behavior evaluator_behaviour(EvaluatorActor* self, RunTag tag, std::shared_ptr<const RunPlan> plan,
                                  caf::actor trainer) {
  report_exceptions_to(self, trainer, tag, "evaluator");
  self->state.core =
      std::make_unique<EvaluatorCore>(plan->evaluation_order, plan->config.train.micro_batch_size);
  const auto ask = [=] {
    ProgramRequest request;
    request.tag = tag;
    request.kind = evaluation_program;
    request.batch = self->state.core->next();
    self->send(trainer, std::move(request));
  };
  return {
      [=](evaluate_atom, int64_t step) {
        self->state.core->start(step);
        ask();
      },
      [=](const EvaluationReport& report) {
        if (const auto result = self->state.core->add(report.loss_sum))
          self->send(trainer, *result);
        else
          ask();
      },
  };
}

}  // namespace

caf::actor spawn_evaluator(caf::actor_system& system, RunTag tag, std::shared_ptr<const RunPlan> plan,
                           caf::actor trainer) {
  return system.spawn(evaluator_behaviour, tag, std::move(plan), std::move(trainer));
}

}  // namespace collie
