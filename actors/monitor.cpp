// The monitor actor does all displaying and logging. It acknowledges each step's record once the record is in
// metrics.jsonl.
#include <filesystem>

#include "actors/caf_types.hpp"
#include "actors/guard.hpp"
#include "base/clock.hpp"
#include "base/failpoint.hpp"
#include "base/screen.hpp"
#include "io/json_lines.hpp"
#include "runtime/console.hpp"
#include "runtime/step_record.hpp"
#include "runtime/trace_file.hpp"

namespace collie {
namespace {

struct MonitorState {
  const char* name = "monitor";
  std::unique_ptr<JsonLinesFile> metrics;
  std::unique_ptr<TraceFile> trace;
  std::unique_ptr<Console> console;
};
using MonitorActor = caf::stateful_actor<MonitorState>;

// An amended record replaces the step's earlier one. The run was interrupted during that step's evaluation,
// so the earlier one lacks it.
void write_record(MonitorState& state, const StepFinished& step, const std::string& path) {
  failpoint("monitor.record");
  if (step.amended) {
    state.metrics.reset();
    truncate_after_step(path, step.step - 1);
    state.metrics = std::make_unique<JsonLinesFile>(path);
  }
  state.metrics->append(record_of(step));
}

caf::behavior monitor_behaviour(MonitorActor* self, RunTag tag, std::shared_ptr<const RunPlan> plan,
                                caf::actor trainer) {
  report_exceptions_to(self, trainer, tag, "monitor");
  const std::filesystem::path folder = plan->config.run.dir;
  MonitorState& state = self->state;
  state.metrics = std::make_unique<JsonLinesFile>((folder / metrics_name).string());
  if (plan->config.monitor.trace)
    state.trace = std::make_unique<TraceFile>((folder / trace_name).string(), plan->layout.grid.ranks());
  state.console = std::make_unique<Console>(plan->config.monitor.console, standard_error());
  return {
      [=](const StepFinished& step) {
        plan->folder->check_in_place();
        write_record(self->state, step, (folder / metrics_name).string());
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
