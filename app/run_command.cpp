// collie-engine run CONFIG.yaml [--set key.path=value]... [--resume[=STEP|best|last] | --overwrite[=delete]]
// [--dry-run]
#include <fmt/ranges.h>

#include <filesystem>
#include <memory>

#include "app/commands.hpp"
#include "app/host.hpp"
#include "app/shell_words.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/quote.hpp"
#include "base/screen.hpp"
#include "io/plugins.hpp"
#include "plan/data_order.hpp"
#include "plan/existing_run.hpp"
#include "plan/settings.hpp"
#include "runtime/summary.hpp"

namespace collie {
namespace {

// Values that nobody types: --overwrite or --resume was not given, or was given without a value.
constexpr const char *not_given = "(not given)", *no_value = "(none)";

struct RunOptions {
  std::string file;
  std::vector<std::string> settings, allowed_changes, nodes;
  std::string program, overwrite = not_given, resume = not_given;
  bool dry_run = false;
  std::vector<std::string> unexpected;  // words that belong to nothing

  bool resumes() const { return resume != not_given; }
};

void describe_plan(const RunPlan& plan) {
  const auto& layout = plan.layout;
  const int64_t parameters = parameter_count(plan.model), trained = trained_parameter_count(plan.model);
  log::info("{}: {} parameters{}, {} steps of {} sequences ({} steps an epoch)", plan.config.run.name,
            parameters,
            trained == parameters
                ? ""
                : fmt::format(" ({} trained, {:.2f} %)", trained,
                              100.0 * static_cast<double>(trained) / static_cast<double>(parameters)),
            plan.total_steps, plan.sizes.sequences(), plan.steps_per_epoch);
  log::info("  {}", words_of_data(*plan.order));
  for (const Plugin& plugin : find_plugins(plan.config.plugins))
    log::info("  with the plugin {} (SHA-256 {})", plugin.name(), plugin.sha256.substr(0, 12));
  if (const std::string mixture = words_of_mixture(*plan.order); !mixture.empty()) log::info("  {}", mixture);
  log::info("  computes on {}", plan.device.description);
  for (size_t stage = 0; stage < plan.ranges.size(); ++stage)
    log::info("  stage {} on rank {}: blocks {} to {}{}{}", stage, layout.rank_of_stage[stage],
              plan.ranges[stage].first_block, plan.ranges[stage].last_block - 1,
              plan.ranges[stage].embedding ? ", embedding" : "",
              plan.ranges[stage].head ? ", head and loss" : "");
  if (const std::string whole = whole_gradients(plan).words(); !whole.empty()) log::info("  {}", whole);
  if (plan.checkpoint)
    log::info("  goes on after step {} from {}", plan.checkpoint->step(), plan.checkpoint->path());
  if (const std::string later = later_steps(plan); !later.empty())
    log::warn("what came after step {} ({}) is set aside in '{}' when the run starts",
              plan.checkpoint->step(), later, plan.config.run.dir);
}

std::string_view word(RunStatus status) {
  switch (status) {
    case RunStatus::completed:
      return "completed";
    case RunStatus::stopped:
      return "stopped early";
    case RunStatus::interrupted:
      return "interrupted";
    case RunStatus::failed:
      return "failed";
  }
  return "?";
}

ExistingRun existing_run(const RunOptions& options) {
  if (options.resumes()) return ExistingRun::resume;
  if (options.overwrite == not_given) return ExistingRun::refuse;
  if (options.overwrite == no_value) return ExistingRun::move_aside;
  if (options.overwrite == "delete") return ExistingRun::discard;
  throw UserError(
      "--overwrite={}: --overwrite moves the run that is in run.dir aside, --overwrite=delete removes it; "
      "there are no others",
      options.overwrite);
}

CheckpointChoice resumed_from(const RunOptions& options) {
  if (!options.resumes() || options.resume == no_value) return CheckpointChoice::last();
  return parse_checkpoint_choice(options.resume, "--resume", false);
}

// The command that goes on with the interrupted run.
std::string command_to_resume(const RunOptions& options) {
  std::vector<std::string> words = {options.program, "run", options.file};
  const auto add = [&](const char* option, const std::string& value) {
    words.emplace_back(option);
    words.push_back(value);
  };
  for (const std::string& setting : options.settings) add("--set", setting);
  if (!options.nodes.empty()) add("--nodes", fmt::format("{}", fmt::join(options.nodes, ",")));
  for (const std::string& key : options.allowed_changes) add("--allow-change", key);
  words.emplace_back("--resume");
  return shell_line(words);
}

// The best checkpoint of those that are there.
void say_best(const std::string& dir) {
  const auto best = best_first(evaluated_checkpoints((std::filesystem::path(dir) / "checkpoints").string()));
  if (best.empty()) return;
  log::info("the best checkpoint is that of step {}, with {} of {:.4f}", best.front().step,
            best.front().metric.name, best.front().value);
}

// A value that stands behind --resume or --overwrite, and not behind their '=', is taken for another word.
void check_words(const RunOptions& options) {
  if (options.unexpected.empty()) return;
  std::vector<std::string> words = options.unexpected;
  words.push_back(options.file);
  for (const std::string& word : words) {
    const bool is_step = !word.empty() && word.find_first_not_of("0123456789") == std::string::npos;
    if (options.resume == no_value && (is_step || word == "best" || word == "last"))
      throw UserError("--resume {}: its value stands behind '=', as in --resume={}", word, word);
    if (options.overwrite == no_value && word == "delete")
      throw UserError("--overwrite delete: its value stands behind '=', as in --overwrite=delete");
  }
  throw UserError("run: found '{}' beside the configuration file '{}'; one file is wanted",
                  shortened(options.unexpected.front()), shortened(options.file));
}

int run(const RunOptions& options) {
  check_words(options);
  const ExistingRun existing = existing_run(options);
  std::vector<std::string> warnings;
  Config config = load_config(options.file, options.settings, warnings);
  if (!options.nodes.empty()) config.cluster.nodes = options.nodes;
  for (const auto& warning : warnings) log::warn("{}", warning);
  const auto launch = launch_of_environment();
  if (launch && !config.cluster.nodes.empty())
    throw UserError("cluster.nodes: the environment names {} processes as well; give one of the two",
                    launch->size);
  if (launch && launch->rank > 0) return join_run(*launch, config.cluster);
  RunPlan plan = plan_training(std::move(config), existing, options.allowed_changes, resumed_from(options));
  describe_plan(plan);
  if (options.dry_run) return 0;
  const std::string dir = plan.config.run.dir;
  if (plan.already_finished) {
    log::info("the run in '{}' has all its {} steps; nothing to do", dir, plan.total_steps);
    return 0;
  }
  const bool keeps_best = plan.config.checkpoint.keep_best > 0;
  const RunEnded outcome = run_to_end(std::move(plan), {}, launch);
  if (!outcome.summary.empty()) standard_error().write(outcome.summary);
  log::info("{} after step {}; the run is in '{}'", word(outcome.status), outcome.step, dir);
  if (keeps_best && outcome.exit_code != 1) say_best(dir);
  if (outcome.status == RunStatus::interrupted)
    log::info("go on with{}: {}", launch ? ", in every process" : "", command_to_resume(options));
  return outcome.exit_code;
}

}  // namespace

void add_run_command(CLI::App& app, int& exit_code, const std::string& program) {
  auto options = std::make_shared<RunOptions>();
  options->program = program;
  CLI::App* command = app.add_subcommand("run", "Trains a model as a configuration file says");
  command->add_option("config", options->file, "The configuration file")->required();
  command->add_option("--set", options->settings, "key.path=value laid over the file; may be given again")
      ->allow_extra_args(false);
  command->add_option("--nodes", options->nodes, "HOST:PORT,...: nodes that hold the ranks (cluster.nodes)")
      ->delimiter(',');
  command->add_flag(
      fmt::format("--resume{{{}}}", no_value), options->resume,
      "Go on with the run in run.dir, after its newest checkpoint; --resume=STEP or =best: after "
      "that one. Later checkpoints are set aside");
  command
      ->add_flag(fmt::format("--overwrite{{{}}}", no_value), options->overwrite,
                 "Move the run in run.dir aside, to run.dir.old-N; --overwrite=delete removes what it wrote")
      ->excludes("--resume");
  command->add_flag("--dry-run", options->dry_run, "Check everything and say what would run, then stop");
  command
      ->add_option(
          "--allow-change", options->allowed_changes,
          "With --resume: a key that may differ although it changes what is computed; may be given again")
      ->allow_extra_args(false)
      ->needs("--resume");
  command->allow_extras();
  command->callback([options, command, &exit_code] {
    options->unexpected = command->remaining();
    exit_code = run(*options);
  });
}

}  // namespace collie
