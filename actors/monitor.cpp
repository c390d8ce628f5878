// The monitor actor passes each step's event to the sinks. It acknowledges the step once every sink has its
// event: the record is then in metrics.jsonl.
#include <filesystem>

#include "actors/caf_types.hpp"
#include "actors/guard.hpp"
#include "base/clock.hpp"
#include "base/failpoint.hpp"
#include "runtime/sinks/sink.hpp"
#include "runtime/step_record.hpp"
#include "runtime/trace_file.hpp"

namespace collie {
namespace {

struct MonitorState {
  const char* name = "monitor";
  std::vector<std::unique_ptr<Sink>> sinks;
  std::unique_ptr<TraceFile> trace;
};
using MonitorActor = caf::stateful_actor<MonitorState>;

SinkSettings sink_settings(const RunPlan& plan) {
  return {plan.config, plan.config.run.dir, plan.folder->run(), plan.checkpoint ? plan.checkpoint->step() : 0,
          plan.total_steps};
}

caf::behavior monitor_behaviour(MonitorActor* self, RunTag tag, std::shared_ptr<const RunPlan> plan,
                                caf::actor trainer) {
  report_exceptions_to(self, trainer, tag, "monitor");
  const std::filesystem::path folder = plan->config.run.dir;
  self->state.sinks = make_sinks(sink_settings(*plan));
  if (plan->config.monitor.trace)
    self->state.trace =
        std::make_unique<TraceFile>((folder / trace_name).string(), plan->layout.grid.ranks());
  return {
      [=](const StepFinished& step) {
        if (!(step.tag == tag)) return;
        plan->folder->check_in_place();
        failpoint("monitor.record");
        const Event event = event_of(step);
        for (const auto& sink : self->state.sinks) sink->write(event);
        if (self->state.trace && !step.loss && step.step > 0)
          self->state.trace->mark("step " + std::to_string(step.step) + ": no targets", steady_seconds());
        self->send(trainer, StepRecorded{tag, step.step});
      },
      [=](const ProgramDone& done) {
        if (self->state.trace && done.tag == tag) self->state.trace->add(done);
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
