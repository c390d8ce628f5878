// collie-engine schedule: shows a pipeline schedule before anything is trained with it.
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "app/commands.hpp"
#include "app/number_option.hpp"
#include "app/standard_streams.hpp"
#include "base/error.hpp"
#include "io/config.hpp"
#include "schedule/schedules.hpp"
#include "schedule/simulator.hpp"

namespace collie {
namespace {

struct ScheduleOptions {
  std::string name = "1f1b", format = "text", costs;
  std::optional<int> stages, micro_batches, virtual_stages;
  int credits = schedule::Limits{}.credits;
  bool split_backward = false, communication = false;
};

// Parses "1,1,1,0.5".
schedule::Costs parse_costs(const std::string& text) {
  schedule::Costs costs;
  const char *at = text.data(), *const end = at + text.size();
  bool good = true;
  double* const fields[] = {&costs.forward, &costs.backward_input, &costs.backward_weight,
                            &costs.communication};
  for (double* field : fields) {
    if (field != fields[0]) good = good && at != end && *at++ == ',';
    if (!good) break;
    const auto [after, error] = std::from_chars(at, end, *field);
    good = error == std::errc() && *field >= 0 && *field <= 1e12;
    at = after;
  }
  if (!good || at != end)
    throw UserError(
        "--costs: '{}' is not F,B,W,comm: four numbers of at least 0 (forward, backward for the input, "
        "backward for the weights, communication), such as 1,1,1,0.5",
        shortened(text));
  return costs;
}

void check(const ScheduleOptions& options) {
  if (options.format != "csv" && options.format != "text" && options.format != "svg")
    throw UserError("--format: unknown format '{}'; known: csv, text, svg", shortened(options.format));
  if (schedule::names_a_file(options.name)) return;
  if (!schedule::schedules().contains(options.name)) {
    const std::vector<std::string> known = schedule::schedules().names();
    throw UserError("--name: unknown schedule '{}'; known: {}, or FILE.csv", shortened(options.name),
                    fmt::join(known, ", "));
  }
  if (!options.stages)
    throw UserError("--stages: schedule {} needs the number of pipeline stages", options.name);
  if (!options.micro_batches)
    throw UserError("--microbatches: schedule {} needs the number of micro-batches", options.name);
}

// Sizes that were not given come from the file.
schedule::Schedule make(const ScheduleOptions& options) {
  schedule::Sizes sizes;
  if (schedule::names_a_file(options.name)) {
    const schedule::Schedule file = schedule::read_schedule_file(options.name, {options.credits});
    sizes = {file.ranks, file.micro_batches, file.stages / file.ranks, false};
    if (file.stages % file.ranks != 0 || file.forward_only) return file;
  }
  sizes.ranks = options.stages.value_or(sizes.ranks);
  sizes.micro_batches = options.micro_batches.value_or(sizes.micro_batches);
  sizes.virtual_stages = options.virtual_stages.value_or(sizes.virtual_stages);
  if (!schedule::names_a_file(options.name))
    sizes.virtual_stages = schedule::stages_per_rank(options.name, sizes.virtual_stages);
  sizes.split_backward = options.split_backward;
  return schedule::make_schedule(options.name, sizes, {options.credits});
}

void run(const ScheduleOptions& options) {
  check(options);
  const schedule::Costs costs = options.costs.empty() ? schedule::Costs{} : parse_costs(options.costs);
  const schedule::Schedule made = make(options);
  std::string output;
  if (options.format == "csv") {
    output = to_csv(options.communication ? with_communication(made) : made);
  } else {
    const schedule::Timeline timeline = simulate(made, costs, {options.credits});
    output = options.format == "svg" ? to_svg(made, timeline) : to_text(made, timeline);
  }
  write_result(output);
}

}  // namespace

void add_schedule_command(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<ScheduleOptions>();
  CLI::App* command =
      app.add_subcommand("schedule", "Show a pipeline schedule: who computes what when, and what idles");
  command
      ->add_option(
          "--name", options->name,
          fmt::format("{} or FILE.csv (PyTorch's format)", fmt::join(schedule::schedules().names(), ", ")))
      ->capture_default_str();
  add_number_option<int>(*command, "--stages", options->stages, 1, int{most_ranks},
                         "pipeline ranks (for a file: what it must have)");
  add_number_option<int>(*command, "--microbatches", options->micro_batches, 1, 1 << 20,
                         "micro-batches a step (for a file: what it must have)");
  add_number_option<int>(*command, "--virtual", options->virtual_stages, 1, 1024,
                         "stages per rank; default: the schedule's own number");
  command->add_flag("--split-backward", options->split_backward,
                    "backward as two actions: I (input), W (weight)");
  command->add_flag("--communication", options->communication, "csv: with the sends and receives");
  command->add_option("--format", options->format, "csv, text or svg")->capture_default_str();
  command->add_option("--costs", options->costs,
                      "F,B,W,comm: time of a forward, of a backward for the input, for the "
                      "weights, and of a message; default 1,1,1,0");
  add_number_option<int>(*command, "--credits", options->credits, 0, 1 << 20,
                         "messages on their way on one channel before its sender waits");
  command->callback([options, &exit_code] {
    run(*options);
    exit_code = 0;
  });
}

}  // namespace collie
