// A run's folder: what stands in it before a run starts there, and how one takes it over.
//
// At its top the folder holds the run's marker, config.resolved.yaml, metrics.jsonl, where it was asked for
// trace.json, and checkpoints/, final/ and cache/ (tokenised data). A file there is the run's where the
// marker names it, a folder where it holds a marker of the same run.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/folder_lock.hpp"
#include "io/run_marker.hpp"

namespace collie {

inline constexpr const char* resolved_config_name = "config.resolved.yaml";
inline constexpr const char* metrics_name = "metrics.jsonl";
inline constexpr const char* trace_name = "trace.json";

// What decides how a run may start in a folder; equal as long as nothing of it has changed.
struct RunFolderView {
  std::optional<RunMarker> marker;   // none: no run is there
  std::string marker_defect;         // why the marker is that of a checkpoint; empty: it is the folder's own
  std::vector<std::string> foreign;  // of the names that a run needs, those that no run wrote
  std::vector<std::string> checkpoints;  // every name in checkpoints/, sorted
  bool has_final = false;
  std::string metrics;  // size and time of change of metrics.jsonl

  bool operator==(const RunFolderView&) const = default;
};

// What stands in `folder`, which need not be there. `with_trace`: the run will write trace.json. Where the
// marker is lost or damaged, that of a checkpoint says whose folder it is. Throws UserError naming run.dir
// where no run can be there: a file, a link that leads nowhere or around, a name that is too long, a folder
// that cannot be written to, or one whose marker is not as it was written and that has no checkpoint.
RunFolderView look_at_run_folder(const std::string& folder, bool with_trace);

// Whether `folder` is there and a file could be made in it.
bool is_writable_folder(const std::string& folder);

// The folder of the run that has started: nobody else runs in it.
class RunFolder {
 public:
  // Makes the folder where it is not there, and locks it. Throws UserError naming run.dir.
  explicit RunFolder(std::string folder);

  const std::string& path() const { return folder_; }
  const std::string& run() const { return marker_.run; }
  std::string checkpoints() const;
  std::string final_model() const;

  // Before begin(). Renames the folder, with all that is in it but cache/, to FOLDER.old-N, which is
  // returned, and goes on with an empty one, locked. Throws UserError naming run.dir where that cannot be
  // done; nothing has changed then.
  std::string move_aside();
  // Before begin(). Removes what the run of `marker` wrote, but for cache/. What else is there stays.
  // RunError.
  void discard(const RunMarker& marker);
  // Before begin(). Removes what a run that never had a checkpoint has recorded. RunError.
  void forget_steps(const RunMarker& marker);

  // The folder is that of the run of `previous` from now on, where there was one, else of a new one.
  // RunError.
  void begin(const std::optional<RunMarker>& previous, bool with_trace);

  // Throws RunError where the folder is no longer where it was, because somebody moved or removed it.
  void check_in_place() const;
  // The run has a checkpoint: a resume that finds none knows then that something is missing.
  void note_checkpoint();

 private:
  std::string folder_;
  std::unique_ptr<const FolderLock> lock_;
  RunMarker marker_;
};

}  // namespace collie
