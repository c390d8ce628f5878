// collie-engine generate (--model DIR | --run DIR [--checkpoint STEP|best|last]) --prompt TEXT: prints the
// text that follows the prompt.
#include <fmt/format.h>

#include <limits>
#include <memory>

#include "app/checkpoint_option.hpp"
#include "app/commands.hpp"
#include "app/host.hpp"
#include "app/number_option.hpp"
#include "app/standard_streams.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "io/continuation.hpp"

namespace collie {
namespace {

struct GenerateOptions {
  std::string model;
  std::vector<std::string> adapters;
  RunOptionValues run;
  Generation generation;
  std::vector<std::string> settings;
};

RunPlan plan_of(const GenerateOptions& options) {
  if (options.run.run.empty() == options.model.empty())
    throw UserError("generate: give --model DIR or --run DIR, one of the two");
  if (!options.run.run.empty()) {
    RunPlan plan = plan_generation(config_of_run(options.run.run, options.settings), options.generation,
                                   choice_of(options.run));
    log::info("generates from {}", plan.checkpoint->path());
    return plan;
  }
  std::vector<std::string> warnings;
  Config config = load_config("", options.settings, warnings);
  config.model.path = options.model;
  return plan_generation(std::move(config), options.generation, CheckpointChoice::base(),
                         parse_adapter_choices(options.adapters));
}

int generate(const GenerateOptions& options) {
  RunPlan plan = plan_of(options);
  const auto tokenizer = plan.tokenizer;
  const auto prompt = plan.prompt_tokens;
  std::vector<int32_t> generated;
  RunHandlers handlers;
  handlers.generated = [&](const TokenGenerated& event) { generated.push_back(event.token); };
  const RunEnded outcome = run_to_end(std::move(plan), handlers);
  if (outcome.exit_code == 0) write_result(continuation(*tokenizer, prompt, generated) + "\n");
  return outcome.exit_code;
}

}  // namespace

void add_generate_command(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* command = app.add_subcommand("generate", "Prints the text a model writes after a prompt");
  CLI::Option* model =
      command->add_option("--model", options->model, "A Hugging Face folder, such as a run's final/");
  add_run_options(*command, options->run);
  model->excludes("--run");
  add_adapter_option(*command, options->adapters)->excludes("--run");
  command->add_option("--prompt", options->generation.prompt, "Where to start; empty: from BOS alone")
      ->required();
  Generation& generation = options->generation;
  SamplingOptions& sampling = generation.sampling;
  constexpr int64_t most_tokens = int64_t{1} << 24;  // bound for a model's positions and ids
  add_number_option<int64_t>(*command, "--max-new-tokens", generation.max_new_tokens, 1, most_tokens,
                             "At most so many tokens");
  add_number_option<double>(*command, "--temperature", sampling.temperature, 0, 1e6,
                            "0: always the most likely token; the default is what the model's "
                            "generation_config.json says (do_sample), else 0");
  add_number_option<double>(
      *command, "--top-p", sampling.top_p, 1e-6, 1,
      "Draw from the most likely tokens that together have this probability; the default is "
      "the model's, else 1");
  add_number_option<int64_t>(
      *command, "--top-k", sampling.top_k, 0, most_tokens,
      "Draw from so many most likely tokens; 0: all; the default is the model's, else 0");
  add_number_option<uint64_t>(*command, "--seed", sampling.seed, 0, std::numeric_limits<uint64_t>::max(),
                              "Of the draws");
  command
      ->add_option("--set", options->settings,
                   "key.path=value, such as parallel.pp_size=2; may be given again")
      ->allow_extra_args(false);
  command->callback([options, &exit_code] { exit_code = generate(*options); });
}

}  // namespace collie
