// collie-engine eval CONFIG.yaml [--checkpoint STEP|best|last|base] [--set key.path=value]...: prints
// {"loss", "perplexity", "tokens"}.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "app/checkpoint_option.hpp"
#include "app/commands.hpp"
#include "app/host.hpp"
#include "app/standard_streams.hpp"
#include "base/log.hpp"

namespace collie {
namespace {

struct EvalOptions {
  std::string file, checkpoint;
  std::vector<std::string> adapters;
  std::vector<std::string> settings;
};

CheckpointChoice choice_of(const EvalOptions& options) {
  if (options.checkpoint.empty()) return {};
  return parse_checkpoint_choice(options.checkpoint, "--checkpoint", true);
}

std::string words_of_adapters(const RunPlan& plan) {
  std::string text;
  for (const AdapterOrigin& origin : plan.weights.adapters)
    text += fmt::format("{} '{}'", text.empty() ? " with" : " and", origin.folder);
  return text;
}

// Which weights are evaluated is not plain from the configuration alone.
void say_what_is_evaluated(const RunPlan& plan) {
  const std::string& dir = plan.config.run.dir;
  if (plan.checkpoint)
    log::info("evaluates step {} of the run in '{}': {}", plan.checkpoint->step(), dir,
              plan.checkpoint->path());
  else
    log::info("evaluates the model in '{}' (model.path){}", plan.weights.path, words_of_adapters(plan));
}

int evaluate(const EvalOptions& options) {
  std::vector<std::string> warnings;
  Config config = load_config(options.file, options.settings, warnings);
  const std::vector<AdapterChoice> adapters = parse_adapter_choices(options.adapters);
  RunPlan plan = plan_evaluation(std::move(config),
                                 adapters.empty() ? choice_of(options) : CheckpointChoice::base(), adapters);
  say_what_is_evaluated(plan);
  RunHandlers handlers;
  std::string text;
  handlers.evaluated = [&](const EvaluationFinished& result) {
    const nlohmann::ordered_json metrics = {{"loss", static_cast<double>(result.loss)},
                                            {"perplexity", static_cast<double>(result.perplexity)},
                                            {"tokens", result.tokens}};
    text = metrics.dump() + "\n";
  };
  const int exit_code = run_to_end(std::move(plan), handlers).exit_code;
  if (exit_code == 0) write_result(text);
  return exit_code;
}

}  // namespace

void add_eval_command(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* command =
      app.add_subcommand("eval", "Evaluates a model on data.eval and prints its metrics as JSON");
  command->add_option("config", options->file, "The configuration file")->required();
  CLI::Option* checkpoint = command->add_option(
      "--checkpoint", options->checkpoint,
      "Of the run in run.dir: a step, best or last; base: the model in model.path. Default: "
      "last, or base if the run has no checkpoint");
  add_adapter_option(*command, options->adapters)->excludes(checkpoint);
  command->add_option("--set", options->settings, "key.path=value laid over the file; may be given again")
      ->allow_extra_args(false);
  command->callback([options, &exit_code] { exit_code = evaluate(*options); });
}

}  // namespace collie
