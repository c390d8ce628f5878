// The generator actor asks the trainer for one program per token and passes the tokens on to the run's
// listener.
#include "actors/caf_types.hpp"
#include "actors/guard.hpp"
#include "runtime/asker.hpp"
#include "runtime/generator_core.hpp"

namespace collie {
namespace {

struct GeneratorState {
  const char* name = "generator";
  std::unique_ptr<GeneratorCore> core;
  std::unique_ptr<Asker> asker;
  bool cache_made = false;
};
using GeneratorActor = caf::stateful_actor<GeneratorState>;

caf::behavior generator_behaviour(GeneratorActor* self, RunTag tag, std::shared_ptr<const RunPlan> plan,
                                  caf::actor trainer, caf::actor listener) {
  report_exceptions_to(self, trainer, tag, "generator");
  ignore_answers(self);
  self->state.core = std::make_unique<GeneratorCore>(plan->prompt_tokens, plan->generation.max_new_tokens,
                                                     plan->tokenizer->eos(),
                                                     plan->model.architecture.max_position_embeddings);
  self->state.asker = std::make_unique<Asker>(tag, generator_name);
  const auto go_on = [=] {
    GeneratorCore& core = *self->state.core;
    if (core.finished()) return self->send(trainer, GenerationFinished{tag});
    const int64_t capacity = self->state.cache_made ? 0 : core.cache_capacity();
    const auto index = static_cast<uint64_t>(core.generated());
    ProgramRequest request = self->state.asker->ask(generation_program, core.next());
    request.sampling = plan->generation.sampling;
    request.sampling_index = index;
    request.cache_capacity = capacity;
    self->state.cache_made = true;
    self->send(trainer, std::move(request));
  };
  return {
      [=](generate_atom) { go_on(); },
      [=](const ProgramReply& reply) {
        if (!self->state.asker->accept(reply)) return;
        const auto token = static_cast<int32_t>(value_of(reply, tokens_name));
        if (self->state.core->add(token)) self->send(listener, TokenGenerated{token});
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
