// collie-engine plan CONFIG.yaml [--set key.path=value]... [--format text|json|svg]
#include <fmt/format.h>

#include <memory>

#include "app/commands.hpp"
#include "app/standard_streams.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "io/config.hpp"
#include "plan/report.hpp"

namespace collie {
namespace {

struct PlanOptions {
  std::string file, format = "text";
  std::vector<std::string> settings;
};

void plan(const PlanOptions& options) {
  if (options.format != "text" && options.format != "json" && options.format != "svg")
    throw UserError("--format: unknown format '{}'; known: text, json, svg", options.format);
  std::vector<std::string> warnings;
  Config config = load_config(options.file, options.settings, warnings);
  for (const auto& warning : warnings) log::warn("{}", warning);
  const PlanReport report = make_plan_report(plan_training(std::move(config), ExistingRun::ignore));
  const std::string output = options.format == "json"  ? to_json(report).dump(2) + "\n"
                             : options.format == "svg" ? to_svg(report)
                                                       : to_text(report);
  write_result(output);
}

}  // namespace

void add_plan_command(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* command =
      app.add_subcommand("plan", "Says what a run would take: memory, communication, bubble, and where");
  command->add_option("config", options->file, "The configuration file")->required();
  command->add_option("--set", options->settings, "key.path=value laid over the file; may be given again")
      ->allow_extra_args(false);
  command->add_option("--format", options->format, "text, json or svg")->capture_default_str();
  command->callback([options, &exit_code] {
    plan(*options);
    exit_code = 0;
  });
}

}  // namespace collie
