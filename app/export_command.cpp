// collie-engine export (--run DIR [--checkpoint STEP|best|last] | --model DIR) --out DIR
#include <fmt/format.h>

#include <memory>

#include "app/checkpoint_option.hpp"
#include "app/commands.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "plan/model_export.hpp"

namespace collie {
namespace {

struct ExportOptions {
  std::string model, out;
  std::vector<std::string> adapters;
  bool merge = false;
  RunOptionValues run;
  std::vector<std::string> settings;
};

Config config_of(const ExportOptions& options) {
  if (!options.run.run.empty()) return config_of_run(options.run.run, options.settings);
  std::vector<std::string> warnings;
  Config config = load_config("", options.settings, warnings);
  config.model.path = options.model;
  return config;
}

void export_to_folder(const ExportOptions& options) {
  if (options.run.run.empty() == options.model.empty())
    throw UserError("export: give --run DIR or --model DIR, one of the two");
  const bool of_run = !options.run.run.empty();
  Config config = config_of(options);
  check_export_folder(options.out, config);
  const RunPlan plan =
      plan_export(std::move(config), of_run ? choice_of(options.run) : CheckpointChoice::base(),
                  parse_adapter_choices(options.adapters));
  export_model(plan, options.out, options.merge);
  log::info("{} is now in '{}'",
            plan.checkpoint ? plan.checkpoint->path() : fmt::format("the model in '{}'", plan.weights.path),
            options.out);
}

}  // namespace

void add_export_command(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* command =
      app.add_subcommand("export", "Writes a run's checkpoint, or a model, to a Hugging Face folder");
  CLI::Option* model = command->add_option("--model", options->model, "A Hugging Face folder");
  add_run_options(*command, options->run);
  model->excludes("--run");
  add_adapter_option(*command, options->adapters)->excludes("--run");
  command->add_flag("--merge", options->merge,
                    "Of a model with adapters: write the model with them merged into it, not the adapters");
  command->add_option("--out", options->out, "The folder to be written, new or empty")->required();
  command
      ->add_option("--set", options->settings,
                   "key.path=value, such as model.dtype=bfloat16; may be given again")
      ->allow_extra_args(false);
  command->callback([options, &exit_code] {
    export_to_folder(*options);
    exit_code = 0;
  });
}

}  // namespace collie
