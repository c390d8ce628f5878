// The shard writer actor; there is one per node. It writes the snapshot shards of the node's ranks, each into
// its own file in a folder that all nodes share.
#include <filesystem>

#include "actors/caf_types.hpp"
#include "actors/guard.hpp"

namespace collie {
namespace {

struct ShardWriterState {
  const char* name = "shard_writer";
  std::optional<SnapshotBegun> begun;
  std::vector<SnapshotPart> early;  // parts of ranks that came before the writer's message
  int written = 0;                  // number of ranks written since `begun`
  bool has_seen_folder = false;     // the folder of a snapshot has been visible here
};
using ShardWriterActor = caf::stateful_actor<ShardWriterState>;

// A folder that was never seen here is on another machine's disk; a folder that disappeared was removed.
void check_folder(const ShardWriterState& state) {
  const std::string& folder = state.begun->folder;
  if (std::filesystem::is_directory(folder)) return;
  if (!state.has_seen_folder)
    throw UserError("run.dir: this node does not see '{}'; all nodes need the same file system", folder);
  throw RunError(
      "run.dir: '{}' is gone: somebody has moved, replaced or removed the run's folder; put it back where it "
      "was and go on with --resume",
      folder);
}

nlohmann::json write_shard(ShardWriterState& state, const SnapshotPart& part) {
  check_folder(state);
  state.has_seen_folder = true;
  try {
    return CheckpointFolderSink().write_shard(state.begun->folder, part.rank, part.slices);
  } catch (const RunError&) {
    check_folder(state);
    throw;
  }
}

void write(ShardWriterActor* self, const caf::actor& checkpoint_writer, int ranks, const SnapshotPart& part) {
  const SnapshotBegun& begun = *self->state.begun;
  COLLIE_ASSERT(part.step == begun.step, "rank {} gave a snapshot of step {}, expected {}", part.rank,
                part.step, begun.step);
  const nlohmann::json entry = write_shard(self->state, part);
  self->send(checkpoint_writer, ShardWritten{part.tag, part.step, part.rank, entry.dump()});
  if (++self->state.written == ranks) self->state.begun.reset();
}

caf::behavior shard_writer_behaviour(ShardWriterActor* self, RunTag tag, int ranks,
                                     caf::actor checkpoint_writer, caf::actor owner) {
  report_exceptions_to(self, owner, tag, "checkpoint writer");
  // The checkpoint writer makes the folder. If it is in this process, the folder was here.
  self->state.has_seen_folder = checkpoint_writer && checkpoint_writer.node() == self->node();
  return {
      [=](const SnapshotBegun& begun) {
        if (!(begun.tag == tag)) return;
        ShardWriterState& state = self->state;
        state.begun = begun;
        state.written = 0;
        for (const auto& part : std::exchange(state.early, {})) write(self, checkpoint_writer, ranks, part);
      },
      [=](SnapshotPart& part) {
        if (!(part.tag == tag)) return;
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
