// Checkpoints are slices of parameters and optimizer states, keyed so that any layout reads what any other
// wrote.
//
// A checkpoint is a folder `step-00000100`. It holds one safetensors file per writer, `manifest.json`, and
// the marker of the run that wrote it (io/run_marker.hpp). The manifest names every slice with its file and
// every file with its size and SHA-256. The folder is written as `step-00000100.partial`: marker, shards,
// fsync, manifest, fsync, rename, fsync of the parent. So a folder without `.partial` is complete, or is the
// rest of one that is being removed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/checkpoint_manifest.hpp"
#include "kernels/tensor.hpp"

namespace collie {

class SafetensorsFile;

// The folder of a run's checkpoints. The run replaces or removes only what it wrote itself.
struct CheckpointPlace {
  std::string folder;  // the run's checkpoints/; the folder around it must exist
  std::string run;     // RunMarker::run
};

// A rectangle of one state of one parameter: [offsets, offsets + data.shape) of global_shape.
struct CheckpointSlice {
  std::string name;   // Hugging Face name
  std::string state;  // "weight", or an optimizer state such as "exp_avg"
  Shape global_shape;
  std::vector<int64_t> offsets;  // [rank of global_shape]
  Tensor data;                   // f32 or bf16, contiguous, on the host
};

// Writes one complete checkpoint and returns its path. It replaces a checkpoint of the same step. parts[i]
// becomes shard i. `metadata` is kept in the manifest (Manifest::metadata). Throws RunError with the system's
// reason if the disk refuses. Then what was there before is untouched, and the partial folder is removed.
std::string write_checkpoint(const CheckpointPlace& place, int64_t step, const nlohmann::json& metadata,
                             const std::vector<std::vector<CheckpointSlice>>& parts);

// The same in three steps, for writers in several processes that share the file system. One process makes the
// folder for the shards and gets its path. Each process writes its own shard and gets the shard's entry for
// the manifest. One process finishes the checkpoint with the entries of all.
std::string begin_checkpoint(const CheckpointPlace& place, int64_t step);
nlohmann::json write_checkpoint_shard(const std::string& partial, int index,
                                      const std::vector<CheckpointSlice>& slices);
std::string finish_checkpoint(const CheckpointPlace& place, int64_t step, const nlohmann::json& metadata,
                              const std::vector<nlohmann::json>& shards);
// Removes what begin_checkpoint made if the checkpoint was not finished.
void abandon_checkpoint(const CheckpointPlace& place, int64_t step) noexcept;

// Call it once the checkpoint of `newest_step` is written. Of the run's checkpoints up to that step it keeps
// the `keep_last` newest and removes the others. It also removes partial checkpoints and those of later
// steps. (A resumed run leaves later ones behind if they were damaged.)
void purge_checkpoints(const CheckpointPlace& place, int64_t newest_step, int64_t keep_last);

// Removes all checkpoints of the run, including partial ones.
void discard_checkpoints(const CheckpointPlace& place);

// The steps for which `folder` holds a folder with a checkpoint's name, complete or not, in order.
std::vector<int64_t> checkpoint_steps(const std::string& folder);

// It is immutable once opened, so ranks may share it.
class Checkpoint {
 public:
  // Reads and verifies all of the checkpoint: the manifest, the files' sizes and hashes, that every slice is
  // the tensor that the manifest describes, and that the slices cover their states. Throws UserError naming
  // the file and the defect.
  static Checkpoint open(const std::string& path);

  const std::string& path() const { return path_; }
  int64_t step() const { return step_; }
  const nlohmann::json& metadata() const { return metadata_; }

  // The shape of the whole parameter's state. Throws UserError if it is not there.
  Shape global_shape(const std::string& name, const std::string& state) const;

  // Throws UserError if the state is missing or does not have the model's shape.
  void check(const std::string& name, const std::string& state, const Shape& expected) const;

  // Fills `out` (f32, contiguous, host) with the rectangle of `state` of parameter `name` that starts at
  // `offsets`, put together from the slices that hold it. Throws UserError as check() does.
  void read(const std::string& name, const std::string& state, const Shape& global_shape,
            const std::vector<int64_t>& offsets, Tensor& out) const;

 private:
  const std::vector<ManifestSlice>& slices_of(const std::string& name, const std::string& state) const;

  std::string path_;
  int64_t step_ = 0;
  nlohmann::json metadata_;
  std::map<std::pair<std::string, std::string>, std::vector<ManifestSlice>> slices_;  // by (name, state)
  std::map<std::string, std::shared_ptr<const SafetensorsFile>> files_;               // by file name
};

// The newest checkpoint under `folder` that verifies. A defective one is skipped with a warning. Returns
// nullopt if there is none. Throws UserError if there are some and none verifies.
std::optional<Checkpoint> latest_checkpoint(const std::string& folder);

}  // namespace collie
