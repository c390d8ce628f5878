// The monitor actor: everything that is shown or logged. Acknowledges each step's record once it is in
// metrics.jsonl.
#include <filesystem>

#include "actors/caf_types.hpp"
#include "actors/console.hpp"
#include "actors/guard.hpp"
#include "actors/trace_file.hpp"
#include "io/json_lines.hpp"

namespace collie {
namespace {

struct MonitorState {
  const char* name = "monitor";
  std::unique_ptr<JsonLinesFile> metrics;
  std::unique_ptr<TraceFile> trace;
  std::unique_ptr<Console> console;
};
using MonitorActor = caf::stateful_actor<MonitorState>;

nlohmann::ordered_json record_of(const StepFinished& step) {
  nlohmann::ordered_json record;
  record["step"] = step.step;
  record["epoch"] = step.epoch;
  record["loss"] = step.loss ? nlohmann::ordered_json(static_cast<double>(*step.loss)) : nullptr;
  record["lr"] = static_cast<double>(step.lr);
  record["grad_norm"] = static_cast<double>(step.grad_norm);
  record["tokens"] = step.tokens;
  record["tokens_per_second"] = static_cast<double>(step.tokens_per_second);
  record["step_seconds"] = static_cast<double>(step.step_s);
  record["memory_bytes"] = step.memory_bytes;
  if (step.evaluated) record["eval_loss"] = static_cast<double>(step.eval_loss);
  return record;
}

caf::behavior monitor_behaviour(MonitorActor* self, RunTag tag, std::shared_ptr<const RunPlan> plan,
                                caf::actor trainer) {
  report_exceptions_to(self, trainer, tag, "monitor");
  const std::filesystem::path folder = plan->config.run.dir;
  MonitorState& state = self->state;
  state.metrics = std::make_unique<JsonLinesFile>((folder / metrics_name).string());
  if (plan->config.monitor.trace)
    state.trace = std::make_unique<TraceFile>((folder / trace_name).string(), plan->layout.grid.ranks());
  state.console = std::make_unique<Console>(Console::style_of(plan->config.monitor.console, stderr), stderr);
  return {
      [=](const StepFinished& step) {
        plan->folder->check_in_place();
        self->state.metrics->append(record_of(step));
        self->state.console->show(step, steady_seconds());
        if (self->state.trace && !step.loss)
          self->state.trace->mark("step " + std::to_string(step.step) + ": no targets", steady_seconds());
        self->send(trainer, recorded_atom::value, step.step);
      },
      [=](const ProgramDone& done) {
        if (self->state.trace) self->state.trace->add(done);
      },
  };
}

}  // namespace

caf::actor spawn_monitor(caf::actor_system& system, SpawnMode mode, RunTag tag,
                         std::shared_ptr<const RunPlan> plan, caf::actor trainer) {
  if (mode == SpawnMode::detached)
    return system.spawn<caf::detached>(monitor_behaviour, tag, std::move(plan), std::move(trainer));
  return system.spawn(monitor_behaviour, tag, std::move(plan), std::move(trainer));
}

}  // namespace collie
