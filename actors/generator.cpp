// The generator actor asks the trainer for one program per token and passes the tokens on to the run's
// listener.
#include "actors/caf_types.hpp"
#include "actors/guard.hpp"
#include "runtime/generator_core.hpp"

namespace collie {
namespace {

struct GeneratorState {
  const char* name = "generator";
  std::unique_ptr<GeneratorCore> core;
  std::unique_ptr<Asker> asker;
};
using GeneratorActor = caf::stateful_actor<GeneratorState>;

caf::behavior generator_behaviour(GeneratorActor* self, RunTag tag, std::shared_ptr<const RunPlan> plan,
                                  caf::actor trainer, caf::actor listener) {
  report_exceptions_to(self, trainer, tag, "generator");
  ignore_answers(self);
  const Prompt prompt{plan->prompt_tokens, plan->generation.max_new_tokens, plan->sampling};
  self->state.core =
      std::make_unique<GeneratorCore>(std::vector<Prompt>{prompt}, plan->stop_ids, plan->model.positions());
  self->state.asker = std::make_unique<Asker>(tag, generator_name);
  const auto go_on = [=] {
    GeneratorCore& core = *self->state.core;
    if (core.finished()) return self->send(trainer, GenerationFinished{tag, generator_name});
    self->send(trainer, core.next(*self->state.asker));
  };
  return {
      [=](const GenerationWanted& wanted) {
        if (wanted.tag == tag) go_on();
      },
      [=](const ProgramReply& reply) {
        if (!self->state.asker->accept(reply)) return;
        for (const GeneratorCore::Drawn& drawn : self->state.core->add(reply))
          self->send(listener, TokenGenerated{tag, drawn.token});
        go_on();
      },
  };
}

}  // namespace

caf::actor spawn_generator(caf::actor_system& system, RunTag tag, std::shared_ptr<const RunPlan> plan,
                           caf::actor trainer, caf::actor listener) {
  return system.spawn(generator_behaviour, tag, std::move(plan), std::move(trainer), std::move(listener));
}

}  // namespace collie
