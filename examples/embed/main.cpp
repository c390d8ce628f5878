// A host program with its own actor system that trains a small model in it. It registers a loss, an optimizer
// and a callback. It gets the run's events as messages, and its callback ends the run early.
//
// Usage: collie-embed TEXT_FILE RUN_FOLDER
#include <caf/all.hpp>
#include <cstdio>
#include <exception>

#include "actors/engine.hpp"
#include "pieces.hpp"

namespace {

collie::Config make_config(const std::string& text, const std::string& folder) {
  collie::Config config;
  config.run.name = "embedded";
  config.run.dir = folder;
  config.model.from_scratch = true;
  config.model.config = {{"model_type", "llama"},          {"hidden_size", 64},
                         {"intermediate_size", 172},       {"num_hidden_layers", 2},
                         {"num_attention_heads", 4},       {"num_key_value_heads", 2},
                         {"max_position_embeddings", 128}, {"tie_word_embeddings", true}};
  config.tokenizer.kind = "byte";
  config.data.train.emplace_back().path = text;
  config.data.sequence_length = 128;
  config.train.steps = 400;
  config.train.loss = "label_smoothing";
  config.optimizer.name = "momentum";
  config.optimizer.options = {{"lr", 0.3}, {"decay", 0.9}};
  config.parallel.pp_size = 2;
  config.callbacks = {{"good_enough"}};
  config.monitor.console = "none";
  return config;
}

int run(const std::string& text, const std::string& folder) {
  embed::register_pieces();
  caf::actor_system_config system_config;
  collie::add_message_types(system_config);                     // before the actor system exists
  system_config.set("scheduler.policy", caf::atom("sharing"));  // idle workers sleep
  caf::actor_system system(system_config);
  caf::scoped_actor self(system);

  collie::RunPlan plan = collie::plan_training(make_config(text, folder), collie::ExistingRun::discard);
  collie::spawn_run(system, std::move(plan), caf::actor_cast<caf::actor>(self));

  int exit_code = -1;
  while (exit_code < 0)
    self->receive(
        [](const collie::RunStarted& event) {
          std::printf("started: %ld parameters on %d ranks\n", static_cast<long>(event.parameters),
                      event.ranks);
        },
        [](const collie::StepFinished& event) {
          if (event.step % 20 == 0 && event.loss)
            std::printf("step %ld: loss %.3f\n", static_cast<long>(event.step),
                        static_cast<double>(*event.loss));
        },
        [](const collie::EvaluationFinished&) {},
        [](const collie::CheckpointSaved& event) {
          std::printf("checkpoint of step %ld\n", static_cast<long>(event.step));
        },
        [&](const collie::RunEnded& event) {
          const bool early = event.status == collie::RunStatus::stopped;
          std::printf("ended after step %ld%s%s\n", static_cast<long>(event.step),
                      early ? ", stopped early" : "",
                      event.message.empty() ? "" : (": " + event.message).c_str());
          exit_code = event.exit_code;
        });
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: collie-embed TEXT_FILE RUN_FOLDER\n");
    return 2;
  }
  try {
    return run(argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "collie-embed: %s\n", error.what());
    return 1;
  }
}
