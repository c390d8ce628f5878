// The shard writer actor, one a node: writes what the node's ranks give of a snapshot, each into a file of
// its own in a folder that all nodes share.
#include <filesystem>

#include "actors/caf_types.hpp"
#include "actors/guard.hpp"

namespace collie {
namespace {

struct ShardWriterState {
  const char* name = "shard_writer";
  std::optional<SnapshotBegun> begun;
  std::vector<SnapshotPart> early;  // of ranks that were faster than the writer's word
  int written = 0;                  // ranks, since `begun`
};
using ShardWriterActor = caf::stateful_actor<ShardWriterState>;

void write(ShardWriterActor* self, const caf::actor& checkpoint_writer, int ranks, const SnapshotPart& part) {
  const SnapshotBegun& begun = *self->state.begun;
  COLLIE_ASSERT(part.step == begun.step, "rank {} gave a snapshot of step {}, expected {}", part.rank,
                part.step, begun.step);
  if (!std::filesystem::is_directory(begun.folder))
    throw UserError("run.dir: this node does not see '{}'; all nodes need the same file system",
                    begun.folder);
  const nlohmann::json entry = write_checkpoint_shard(begun.folder, part.rank, part.slices);
  self->send(checkpoint_writer, ShardWritten{part.tag, part.step, part.rank, entry.dump()});
  if (++self->state.written == ranks) self->state.begun.reset();
}

caf::behavior shard_writer_behaviour(ShardWriterActor* self, RunTag tag, int ranks,
                                     caf::actor checkpoint_writer, caf::actor owner) {
  report_exceptions_to(self, owner, tag, "checkpoint writer");
  return {
      [=](const SnapshotBegun& begun) {
        ShardWriterState& state = self->state;
        state.begun = begun;
        state.written = 0;
        for (const auto& part : std::exchange(state.early, {})) write(self, checkpoint_writer, ranks, part);
      },
      [=](SnapshotPart& part) {
        ShardWriterState& state = self->state;
        if (state.begun) return write(self, checkpoint_writer, ranks, part);
        state.early.push_back(std::move(part));
      },
  };
}

}  // namespace

caf::actor spawn_shard_writer(caf::actor_system& system, SpawnMode mode, RunTag tag, int ranks,
                              caf::actor checkpoint_writer, caf::actor owner) {
  if (mode == SpawnMode::detached)
    return system.spawn<caf::detached>(shard_writer_behaviour, tag, ranks, std::move(checkpoint_writer),
                                       std::move(owner));
  return system.spawn(shard_writer_behaviour, tag, ranks, std::move(checkpoint_writer), std::move(owner));
}

}  // namespace collie
