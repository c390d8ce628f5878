// A run's folder: what it holds before a run starts there, and how a run takes it.
//
// The folder directly holds the run's marker, config.resolved.yaml, metrics.jsonl, other outputs (trace.json,
// those of sinks), and checkpoints/, final/ and cache/ (tokenised data). A file there is the run's if the
// marker names it. A folder there is the run's if it holds a marker of the same run.
#pragma once

#include <cstdint>
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

// The names of what a run writes directly in its folder, besides what every run has. The name of a folder
// ends with '/'.
using RunOutputs = std::vector<std::string>;

// Decides how a run may start in a folder. Two views are equal as long as nothing of it has changed.
struct RunFolderView {
  std::optional<RunMarker> marker;       // none: no run is there
  std::string marker_defect;             // why a checkpoint's marker is used; empty: it is the folder's own
  std::vector<std::string> foreign;      // the names that a run needs and that no run wrote
  std::vector<std::string> checkpoints;  // every name in checkpoints/, sorted
  bool has_final = false;
  std::string metrics;  // size and time of change of metrics.jsonl

  bool operator==(const RunFolderView&) const = default;
};

// Looks at `folder`, which need not exist, for a run that will write `outputs`. If the marker is lost or
// damaged, a checkpoint's marker says whose folder it is, and the outputs other than trace.json count as that
// run's. Throws UserError naming run.dir if no run can be there: a file, a link that leads nowhere or around,
// a name that is too long, a folder that cannot be written to, or a folder whose marker is not as it was
// written and that has no checkpoint.
RunFolderView look_at_run_folder(const std::string& folder, const RunOutputs& outputs);

// Says whether `folder` exists and a file could be made in it.
bool is_writable_folder(const std::string& folder);

// The folder of a run that has started. Nobody else runs in it.
class RunFolder {
 public:
  // Makes the folder if it does not exist, and locks it. Throws UserError naming run.dir.
  explicit RunFolder(std::string folder);

  const std::string& path() const { return folder_; }
  const std::string& run() const { return marker_.run; }
  std::string checkpoints() const;
  std::string final_model() const;

  // Call it before begin(). Renames the folder, with everything in it except cache/, to FOLDER.old-N, which
  // is returned, and goes on with an empty folder, locked. Throws UserError naming run.dir if that cannot be
  // done; then nothing has changed.
  std::string move_aside();
  // Call it before begin(). Removes what the run of `marker` wrote, except cache/. Everything else stays.
  // Throws RunError.
  void discard(const RunMarker& marker);
  // Call it before begin(). Moves what came after the step from which the run goes on, the checkpoints of
  // `steps` and, if `with_final`, final/, to set-aside-N in the folder (the first free N from 1), with a copy
  // of metrics.jsonl. Returns that path. If it is interrupted, what is left is the run as it was after an
  // earlier one of the steps. Throws RunError.
  std::string set_aside(std::vector<int64_t> steps, bool with_final);
  // Call it before begin(). Removes the outputs, metrics.jsonl among them, of a run that never had a
  // checkpoint. Throws RunError.
  void forget_steps(const RunMarker& marker);

  // From now on the folder belongs to the run of `previous` if there was one, else to a new run. Throws
  // RunError.
  void begin(const std::optional<RunMarker>& previous, const RunOutputs& outputs);

  // After begin(): whether this run, now or before it was resumed, has written `output`.
  bool has_output(const std::string& output) const;

  // Whether the folder is still where it was; check_in_place() throws RunError if somebody moved or removed
  // it.
  bool is_in_place() const;
  void check_in_place() const;
  // Notes that the run has a checkpoint. A resume that finds none then knows that something is missing.
  void note_checkpoint();

 private:
  std::string folder_;
  std::unique_ptr<const FolderLock> lock_;
  RunMarker marker_;
};

}  // namespace collie
