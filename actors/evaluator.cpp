// The evaluator actor asks the trainer for the programs of an evaluation, one at a time, and tells it what
// came of them.
#include "actors/caf_types.hpp"
#include "actors/guard.hpp"
#include "plan/evaluation_sets.hpp"
#include "runtime/asker.hpp"

namespace collie {
namespace {

struct EvaluatorState {
  const char* name = "evaluator";
  std::unique_ptr<Evaluation> core;
  std::unique_ptr<Asker> asker;
};
using EvaluatorActor = caf::stateful_actor<EvaluatorState>;

caf::behavior evaluator_behaviour(EvaluatorActor* self, RunTag tag, std::shared_ptr<const RunPlan> plan,
                                  caf::actor trainer) {
  report_exceptions_to(self, trainer, tag, "evaluator");
  self->state.core = make_evaluation(*plan);
  self->state.asker = std::make_unique<Asker>(tag, evaluator_name);
  const auto go_on = [=] {
    Evaluation& core = *self->state.core;
    if (std::optional<ProgramRequest> request = core.next(*self->state.asker))
      return self->send(trainer, *std::move(request));
    if (core.decodes()) self->send(trainer, GenerationFinished{tag, evaluator_name});
    EvaluationFinished result = core.result();
    result.tag = tag;
    self->send(trainer, std::move(result));
  };
  return {
      [=](const EvaluationWanted& wanted) {
        if (!(wanted.tag == tag)) return;
        self->state.core->start(wanted.step);
        go_on();
      },
      [=](const ProgramReply& reply) {
        if (!self->state.asker->accept(reply)) return;
        self->state.core->add(reply);
        go_on();
      },
  };
}

}  // namespace

caf::actor spawn_evaluator(caf::actor_system& system, RunTag tag, std::shared_ptr<const RunPlan> plan,
                           caf::actor trainer) {
  return system.spawn(evaluator_behaviour, tag, std::move(plan), std::move(trainer));
}

}  // namespace collie
