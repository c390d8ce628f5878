// collie-engine eval CONFIG.yaml [--checkpoint STEP|best|last|base] [--only SET]... [--predictions FILE]
// [--set key.path=value]...: prints {"loss", "perplexity", "tokens", "sets": {SET: {METRIC: NUMBER}}}.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/checkpoint_option.hpp"
#include "app/commands.hpp"
#include "app/host.hpp"
#include "app/standard_streams.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/nearest_name.hpp"
#include "base/quote.hpp"
#include "io/files.hpp"

namespace collie {
namespace {

struct EvalOptions {
  std::string file, checkpoint, predictions;
  std::vector<std::string> only;
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

constexpr const char* name_of_data_eval = "data.eval";

[[noreturn]] void refuse_set(const std::string& name, const std::vector<std::string>& known) {
  const auto nearest = nearest_name(name, known);
  std::string all;
  for (const std::string& each : known) all += (all.empty() ? "" : ", ") + each;
  throw UserError("--only: there is no set '{}'; {}known: {}", shortened(name),
                  nearest ? "the nearest is " + *nearest + "; " : "", all.empty() ? "none" : all);
}

// Leaves out what is not named.
void choose_sets(const std::vector<std::string>& only, Config& config) {
  if (only.empty()) return;
  std::vector<std::string> known;
  if (!config.data.eval.empty()) known.emplace_back(name_of_data_eval);
  for (const EvalSet& set : config.eval.sets) known.push_back(set.name);
  for (const std::string& name : only)
    if (std::find(known.begin(), known.end(), name) == known.end()) refuse_set(name, known);
  const auto is_left_out = [&](const std::string& name) {
    return std::find(only.begin(), only.end(), name) == only.end();
  };
  if (is_left_out(name_of_data_eval)) config.data.eval.clear();
  std::erase_if(config.eval.sets, [&](const EvalSet& set) { return is_left_out(set.name); });
}

// The file is made before the evaluation, so that nothing is computed in vain.
void begin_predictions(const std::string& file, const RunPlan& plan) {
  if (file.empty()) return;
  const auto& sets = plan.config.eval.sets;
  if (std::all_of(sets.begin(), sets.end(), [](const EvalSet& set) { return set.kind == "perplexity"; }))
    throw UserError(
        "--predictions: nothing that is evaluated has predictions; a set of kind classification or "
        "generation has");
  try {
    write_file_durably(file, std::string_view());
  } catch (const RunError& error) {
    throw UserError("--predictions: {}", error.what());
  }
}

// NaN, which JSON lacks, is printed as null.
nlohmann::ordered_json json_of_evaluation(const EvaluationFinished& result) {
  nlohmann::ordered_json all = nlohmann::ordered_json::object();
  if (result.tokens > 0)
    all = {{"loss", static_cast<double>(result.loss)},
           {"perplexity", static_cast<double>(result.perplexity)},
           {"tokens", result.tokens}};
  for (const EvaluatedMetric& metric : result.metrics) {
    const std::string name = metric.name.substr(std::string_view(evaluated_metric_prefix).size());
    const size_t slash = name.find('/');  // the names of sets have none
    all["sets"][name.substr(0, slash)][name.substr(slash + 1)] = static_cast<double>(metric.value);
  }
  return all;
}

int evaluate(const EvalOptions& options) {
  std::vector<std::string> warnings;
  Config config = load_config(options.file, options.settings, warnings);
  choose_sets(options.only, config);
  const std::vector<AdapterChoice> adapters = parse_adapter_choices(options.adapters);
  RunPlan plan = plan_evaluation(std::move(config),
                                 adapters.empty() ? choice_of(options) : CheckpointChoice::base(), adapters);
  say_what_is_evaluated(plan);
  begin_predictions(options.predictions, plan);
  plan.predictions_file = options.predictions;
  RunHandlers handlers;
  std::string text;
  handlers.evaluated = [&](const EvaluationFinished& result) {
    text = json_of_evaluation(result).dump() + "\n";
  };
  const int exit_code = run_to_end(std::move(plan), handlers).exit_code;
  if (exit_code == 0) write_result(text);
  return exit_code;
}

}  // namespace

void add_eval_command(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* command = app.add_subcommand(
      "eval", "Evaluates a model on data.eval and eval.sets, and prints its metrics as JSON");
  command->add_option("config", options->file, "The configuration file")->required();
  CLI::Option* checkpoint = command->add_option(
      "--checkpoint", options->checkpoint,
      "Of the run in run.dir: a step, best or last; base: the model in model.path. Default: "
      "last, or base if the run has no checkpoint");
  add_adapter_option(*command, options->adapters)->excludes(checkpoint);
  command
      ->add_option("--only", options->only,
                   "The name of a set of eval.sets, or data.eval: that alone; may be given again")
      ->allow_extra_args(false);
  command->add_option("--predictions", options->predictions,
                      "A file, which is replaced, for what is predicted of each sample: JSON Lines");
  command->add_option("--set", options->settings, "key.path=value laid over the file; may be given again")
      ->allow_extra_args(false);
  command->callback([options, &exit_code] { exit_code = evaluate(*options); });
}

}  // namespace collie
