// collie-engine data CONFIG.yaml: shows what the run's data are, before anything is trained.
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "app/commands.hpp"
#include "app/number_option.hpp"
#include "app/standard_streams.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "io/config.hpp"
#include "plan/data_report.hpp"
#include "plan/run_plan.hpp"

namespace collie {
namespace {

struct DataOptions {
  std::string file, format = "text";
  std::vector<std::string> settings;
  int64_t samples = 3;
};

bool shows_colours() {
  const char* terminal = std::getenv("TERM");
  return ::isatty(STDOUT_FILENO) && terminal && std::string(terminal) != "dumb" && !std::getenv("NO_COLOR");
}

void show(const DataOptions& options) {
  if (options.format != "text" && options.format != "json")
    throw UserError("--format: unknown format '{}'; known: text, json", shortened(options.format));
  std::vector<std::string> warnings;
  Config config = load_config(options.file, options.settings, warnings);
  for (const auto& warning : warnings) log::warn("{}", warning);
  const RunPlan plan = plan_training(std::move(config), ExistingRun::ignore);
  std::string text;
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const auto& order : {plan.order, plan.evaluation_order}) {
    if (!order) continue;
    const DataReport report = make_data_report(*order, *plan.tokenizer, options.samples);
    text += (text.empty() ? "" : "\n") + to_text(report, shows_colours());
    all.push_back(to_json(report));
  }
  write_result(options.format == "json" ? all.dump(2) + "\n" : text);
}

}  // namespace

void add_data_command(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<DataOptions>();
  CLI::App* command = app.add_subcommand(
      "data",
      "Shows documents, lengths and samples of a run's data; grey (or outside of brackets) is no target");
  command->add_option("config", options->file, "The configuration file")->required();
  command->add_option("--set", options->settings, "key.path=value laid over the file; may be given again")
      ->allow_extra_args(false);
  add_number_option<int64_t>(*command, "--samples", options->samples, 0, 10000, "Show so many documents");
  command->add_option("--format", options->format, "text or json")->capture_default_str();
  command->callback([options, &exit_code] {
    show(*options);
    exit_code = 0;
  });
}

}  // namespace collie
