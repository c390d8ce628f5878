// collie-engine eval CONFIG.yaml [--set key.path=value]...: prints {"loss", "perplexity", "tokens"}.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "app/commands.hpp"
#include "app/host.hpp"
#include "app/standard_streams.hpp"

namespace collie {
namespace {

struct EvalOptions {
  std::string file;
  std::vector<std::string> settings;
};

int evaluate(const EvalOptions& options) {
  std::vector<std::string> warnings;
  Config config = load_config(options.file, options.settings, warnings);
  RunPlan plan = plan_evaluation(std::move(config));
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
  command->add_option("--set", options->settings, "key.path=value laid over the file; may be given again")
      ->allow_extra_args(false);
  command->callback([options, &exit_code] { exit_code = evaluate(*options); });
}

}  // namespace collie
