// The checkpoint writer actor: collects a snapshot's parts and makes them durable while training goes on. The
// trainer asks for the next snapshot only after this one is written: one snapshot buffer a run.
#include <filesystem>

#include "actors/caf_types.hpp"
#include "actors/guard.hpp"
#include "io/model_folder.hpp"

namespace collie {
namespace {

struct WriterState {
  const char* name = "checkpoint_writer";
  std::optional<SnapshotExpected> expected;
  std::map<int, SnapshotPart> parts;  // by rank; ranks may be faster than the trainer's word
};
using WriterActor = caf::stateful_actor<WriterState>;

std::string write(const RunPlan& plan, const SnapshotExpected& expected,
                  const std::vector<std::vector<CheckpointSlice>>& parts) {
  const std::filesystem::path folder = plan.config.run.dir;
  const std::string checkpoints = (folder / "checkpoints").string();
  const nlohmann::json metadata = {{"position", expected.position},
                                   {"total_steps", plan.total_steps},
                                   {"ranks", plan.layout.grid.ranks()},
                                   {"maths", maths_of(plan)}};
  const std::string path = write_checkpoint(checkpoints, expected.step, metadata, parts);
  purge_checkpoints(checkpoints, expected.step, plan.config.checkpoint.keep_last);
  if (expected.final) {
    std::vector<std::string> names;
    for (const auto& parameter : model_parameters(plan.model)) names.push_back(parameter.name);
    write_model_folder((folder / "final").string(), plan.model_json, *plan.tokenizer, names,
                       Checkpoint::open(path));
  }
  return checkpoints;
}

caf::behavior writer_behaviour(WriterActor* self, RunTag tag, std::shared_ptr<const RunPlan> plan,
                               caf::actor trainer) {
  report_exceptions_to(self, trainer, tag, "checkpoint writer");
  const auto write_if_complete = [=] {
    WriterState& state = self->state;
    if (!state.expected || state.parts.size() != static_cast<size_t>(plan->layout.grid.ranks())) return;
    std::vector<std::vector<CheckpointSlice>> parts;
    for (auto& [rank, part] : state.parts) {
      COLLIE_ASSERT(part.step == state.expected->step, "rank {} gave a snapshot of step {}, expected {}",
                    rank, part.step, state.expected->step);
      parts.push_back(std::move(part.slices));
    }
    state.parts.clear();
    const int64_t step = state.expected->step;
    const std::string path = write(*plan, *state.expected, parts);
    state.expected.reset();
    self->send(trainer, SnapshotWritten{tag, step, path});
  };
  return {
      [=](const SnapshotExpected& expected) {
        self->state.expected = expected;
        write_if_complete();
      },
      [=](SnapshotPart& part) {
        const int rank = part.rank;
        self->state.parts[rank] = std::move(part);
        write_if_complete();
      },
  };
}

}  // namespace

caf::actor spawn_checkpoint_writer(caf::actor_system& system, SpawnMode mode, RunTag tag,
                                   std::shared_ptr<const RunPlan> plan, caf::actor trainer) {
  if (mode == SpawnMode::detached)
    return system.spawn<caf::detached>(writer_behaviour, tag, std::move(plan), std::move(trainer));
  return system.spawn(writer_behaviour, tag, std::move(plan), std::move(trainer));
}

}  // namespace collie
