// The evaluator actor asks the trainer for evaluation programs, one at a time, and sums their losses.
#include "actors/caf_types.hpp"
#include "actors/guard.hpp"
#include "runtime/asker.hpp"
#include "runtime/evaluator_core.hpp"

namespace collie {
namespace {

struct EvaluatorState {
  const char* name = "evaluator";
  std::unique_ptr<EvaluatorCore> core;
  std::unique_ptr<Asker> asker;
};
using EvaluatorActor = caf::stateful_actor<EvaluatorState>;

caf::behavior evaluator_behaviour(EvaluatorActor* self, RunTag tag, std::shared_ptr<const RunPlan> plan,
                                  caf::actor trainer) {
  report_exceptions_to(self, trainer, tag, "evaluator");
  self->state.core =
      std::make_unique<EvaluatorCore>(plan->evaluation_order, plan->config.train.micro_batch_size);
  self->state.asker = std::make_unique<Asker>(tag, evaluator_name);
  const auto ask = [=] {
    self->send(trainer, self->state.asker->ask(evaluation_program, self->state.core->next()));
  };
  return {
      [=](const EvaluationWanted& wanted) {
        if (!(wanted.tag == tag)) return;
        self->state.core->start(wanted.step);
        ask();
      },
      [=](const ProgramReply& reply) {
        if (!self->state.asker->accept(reply)) return;
        auto result = self->state.core->add(value_of(reply, loss_sum_name));
        if (!result) return ask();
        result->tag = tag;
        self->send(trainer, *result);
      },
  };
}

}  // namespace

caf::actor spawn_evaluator(caf::actor_system& system, RunTag tag, std::shared_ptr<const RunPlan> plan,
                           caf::actor trainer) {
  return system.spawn(evaluator_behaviour, tag, std::move(plan), std::move(trainer));
}

}  // namespace collie
