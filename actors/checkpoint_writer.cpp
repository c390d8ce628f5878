// The checkpoint writer actor: makes a snapshot durable once every node's shard writer has written the shards
// of its ranks, while training goes on. The trainer asks for the next snapshot only after this one is
// written: one snapshot buffer a run.
#include <filesystem>

#include "actors/caf_types.hpp"
#include "actors/guard.hpp"
#include "io/model_folder.hpp"

namespace collie {
namespace {

struct WriterState {
  const char* name = "checkpoint_writer";
  std::vector<caf::actor> shard_writers;  // [nodes]
  std::optional<SnapshotExpected> expected;
  std::map<int, nlohmann::json> shards;  // by rank
};
using WriterActor = caf::stateful_actor<WriterState>;

std::string checkpoints_of(const RunPlan& plan) {
  return (std::filesystem::path(plan.config.run.dir) / "checkpoints").string();
}

void finish(const RunPlan& plan, const SnapshotExpected& expected,
            const std::vector<nlohmann::json>& shards) {
  const nlohmann::json metadata = {{"position", expected.position},
                                   {"steps_without_targets", expected.steps_without_targets},
                                   {"total_steps", plan.total_steps},
                                   {"ranks", plan.layout.grid.ranks()},
                                   {"maths", maths_of(plan)}};
  const std::string checkpoints = checkpoints_of(plan);
  const std::string path = finish_checkpoint(checkpoints, expected.step, metadata, shards);
  purge_checkpoints(checkpoints, expected.step, plan.config.checkpoint.keep_last);
  if (!expected.final) return;
  std::vector<std::string> names;
  for (const auto& parameter : model_parameters(plan.model)) names.push_back(parameter.name);
  write_model_folder((std::filesystem::path(plan.config.run.dir) / "final").string(), plan.model_json,
                     *plan.tokenizer, names, Checkpoint::open(path));
}

caf::behavior writer_behaviour(WriterActor* self, RunTag tag, std::shared_ptr<const RunPlan> plan,
                               caf::actor trainer) {
  report_exceptions_to(self, trainer, tag, "checkpoint writer");
  // However it ends, what is not finished does not stay.
  self->attach_functor([=] {
    if (self->state.expected) abandon_checkpoint(checkpoints_of(*plan), self->state.expected->step);
  });
  return {
      [=](const Wiring& wiring) { self->state.shard_writers = wiring.writers; },
      [=](const SnapshotExpected& expected) {
        self->state.expected = expected;
        // Nodes may have been started elsewhere.
        const std::string folder =
            std::filesystem::absolute(begin_checkpoint(checkpoints_of(*plan), expected.step));
        for (const auto& writer : self->state.shard_writers)
          self->send(writer, SnapshotBegun{tag, expected.step, folder});
      },
      [=](const ShardWritten& written) {
        WriterState& state = self->state;
        COLLIE_ASSERT(state.expected && state.expected->step == written.step,
                      "rank {} has written a shard of step {}, which nobody asked for", written.rank,
                      written.step);
        state.shards[written.rank] = nlohmann::json::parse(written.entry);
        if (state.shards.size() != static_cast<size_t>(plan->layout.grid.ranks())) return;
        std::vector<nlohmann::json> shards;
        for (auto& [rank, shard] : state.shards) shards.push_back(std::move(shard));
        state.shards.clear();
        finish(*plan, *state.expected, shards);
        state.expected.reset();
        self->send(trainer, SnapshotWritten{tag, written.step, checkpoints_of(*plan)});
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
