// The checkpoint writer actor makes a snapshot durable once every node's shard writer has written the shards
// of its ranks. Training continues meanwhile. The trainer asks for the next snapshot only after this one is
// written, so there is one snapshot buffer per run.
#include <filesystem>

#include "actors/caf_types.hpp"
#include "actors/guard.hpp"
#include "base/log.hpp"
#include "io/callback_options.hpp"
#include "io/checkpoint_name.hpp"
#include "io/evaluated_checkpoints.hpp"
#include "io/json_text.hpp"
#include "plan/checkpoint_metadata.hpp"
#include "plan/final_folder.hpp"

namespace collie {
namespace {

struct WriterState {
  const char* name = "checkpoint_writer";
  std::vector<caf::actor> shard_writers;  // [nodes]
  std::map<int, nlohmann::json> shards;   // by rank
};
using WriterActor = caf::stateful_actor<WriterState>;

CheckpointPlace place_of(const RunPlan& plan) {
  return {plan.folder->checkpoints(), plan.folder->run()};
}

// The best checkpoint of those on the data of the last evaluation, which checkpoint.keep_best keeps; `last`
// if none was evaluated.
std::string best_or(const RunPlan& plan, const std::string& last) {
  const std::string folder = plan.folder->checkpoints();
  const std::vector<EvaluatedCheckpoint> best = best_first(evaluated_checkpoints(folder));
  if (best.empty()) return last;
  log::info("final/ has the weights of step {}, whose {} of {:.6g} is the best", best.front().step,
            best.front().metric.name, best.front().value);
  return (std::filesystem::path(folder) / checkpoint_name(best.front().step)).string();
}

void finish(const RunPlan& plan, const SnapshotExpected& expected,
            const std::vector<nlohmann::json>& shards) {
  const CheckpointPlace place = place_of(plan);
  plan.folder->check_in_place();
  const std::string path =
      CheckpointFolderSink(place).seal(expected.step, checkpoint_metadata(plan, expected), shards);
  plan.folder->note_checkpoint();
  const CheckpointSection& keep = plan.config.checkpoint;
  purge_checkpoints(place, expected.step, {keep.keep_last, keep.keep_best, keep.keep_every});
  if (!expected.final) return;
  write_final_folder(plan, plan.folder->final_model(), place.run,
                     Checkpoint::open(final_is_best(plan.config) ? best_or(plan, path) : path));
}

// If the work fails because somebody has removed the folder, the error says so.
template <class Work>
void in_folder(const RunPlan& plan, Work work) {
  try {
    work();
  } catch (const std::exception&) {
    plan.folder->check_in_place();
    throw;
  }
}

caf::behavior writer_behaviour(WriterActor* self, RunTag tag, std::shared_ptr<const RunPlan> plan,
                               caf::actor trainer) {
  report_exceptions_to(self, trainer, tag, "checkpoint writer");
  // The snapshot that is being written. It outlives the actor's state, which is destroyed before what is
  // attached to the actor's end runs.
  const auto expected_now = std::make_shared<std::optional<SnapshotExpected>>();
  // However the actor ends, it removes an unfinished checkpoint.
  self->attach_functor([=] {
    if (!*expected_now) return;
    CheckpointFolderSink(place_of(*plan)).abandon((*expected_now)->step);
    // Nothing stays in a folder that took the run's place meanwhile.
    std::error_code not_empty;
    if (!plan->folder->is_in_place()) std::filesystem::remove(plan->folder->checkpoints(), not_empty);
  });
  return {
      [=](const Wiring& wiring) {
        if (wiring.tag == tag) self->state.shard_writers = wiring.writers;
      },
      [=](const SnapshotExpected& expected) {
        if (!(expected.tag == tag)) return;
        *expected_now = expected;
        plan->folder->check_in_place();
        // The path is absolute, because nodes may have been started in another folder.
        std::string folder;
        in_folder(*plan, [&] {
          folder =
              std::filesystem::absolute(CheckpointFolderSink(place_of(*plan)).begin(expected.step)).string();
        });
        for (const auto& writer : self->state.shard_writers)
          self->send(writer, SnapshotBegun{tag, expected.step, folder});
      },
      [=](const ShardWritten& written) {
        if (!(written.tag == tag)) return;
        WriterState& state = self->state;
        COLLIE_ASSERT(*expected_now && (*expected_now)->step == written.step,
                      "rank {} has written a shard of step {}, which nobody asked for", written.rank,
                      written.step);
        state.shards[written.rank] = parse_json_object(written.entry, "a shard's entry");
        if (state.shards.size() != static_cast<size_t>(plan->layout.grid.ranks())) return;
        std::vector<nlohmann::json> shards;
        for (auto& [rank, shard] : state.shards) shards.push_back(std::move(shard));
        state.shards.clear();
        in_folder(*plan, [&] { finish(*plan, **expected_now, shards); });
        expected_now->reset();
        self->send(trainer, SnapshotWritten{tag, written.step, plan->folder->checkpoints()});
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
