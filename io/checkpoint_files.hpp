// Checkpoints in folders.
//
// A checkpoint is a folder `step-00000100`. It holds one safetensors file per writer, `manifest.json`, and
// the marker of the run that wrote it (io/run_marker.hpp). The manifest names every slice with its file and
// every file with its size and SHA-256. The folder is written as `step-00000100.partial`: marker, shards,
// fsync, manifest, fsync, rename, fsync of the parent. So a folder without `.partial` is complete, or is the
// rest of one that is being removed.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/checkpoint_manifest.hpp"
#include "io/checkpoint_source.hpp"

namespace collie {

class SafetensorsFile;

// The folder of a run's checkpoints. The run replaces or removes only what it wrote itself.
struct CheckpointPlace {
  std::string folder;  // the run's checkpoints/; the folder around it must exist
  std::string run;     // RunMarker::run
};

class CheckpointFolder final : public CheckpointSource {
 public:
  // Reads and verifies all of the checkpoint: the manifest, the files' sizes and hashes, that every slice is
  // the tensor that the manifest describes, and that the slices cover their states. Throws UserError naming
  // the file and the defect.
  explicit CheckpointFolder(const std::string& path);

  std::string place() const override { return path_; }
  int64_t step() const override { return step_; }
  const nlohmann::json& metadata() const override { return metadata_; }
  const std::vector<Slice>& slices() const override { return slices_; }
  void read(size_t index, int64_t begin, std::span<float> values) const override;

 private:
  struct Stored {
    std::shared_ptr<const SafetensorsFile> file;
    std::string tensor;
  };
  std::string path_;
  int64_t step_ = 0;
  nlohmann::json metadata_;
  std::vector<Slice> slices_;
  std::vector<Stored> stored_;  // [slices]
};

// Throws RunError with the system's reason if the disk refuses. Then what was there before is untouched. It
// replaces a checkpoint of the same step. A token is the path of the folder for the shards. A process that
// writes shards alone needs no place.
class CheckpointFolderSink final : public CheckpointSink {
 public:
  explicit CheckpointFolderSink(CheckpointPlace place = {}) : place_(std::move(place)) {}
  std::string begin(int64_t step) override;
  nlohmann::json write_shard(const std::string& token, int index,
                             const std::vector<CheckpointSlice>& slices) override;
  std::string seal(int64_t step, const nlohmann::json& metadata,
                   const std::vector<nlohmann::json>& shards) override;
  void abandon(int64_t step) noexcept override;

 private:
  CheckpointPlace place_;
};

struct KeptCheckpoints {
  int64_t last = 1;   // so many newest, at least one
  int64_t best = 0;   // so many best (io/evaluated_checkpoints.hpp)
  int64_t every = 0;  // those of steps that it divides; 0: none
};

// Call it once the checkpoint of `newest_step` is written. Of the run's checkpoints up to that step it keeps
// what `keep` says, and removes the others. It also removes partial checkpoints and those of later steps. (A
// resumed run leaves later ones behind if they were damaged.)
void purge_checkpoints(const CheckpointPlace& place, int64_t newest_step, const KeptCheckpoints& keep);

// Removes all checkpoints of the run, including partial ones.
void discard_checkpoints(const CheckpointPlace& place);

// The steps for which `folder` holds a folder with a checkpoint's name, complete or not, in order.
std::vector<int64_t> checkpoint_steps(const std::string& folder);

}  // namespace collie
