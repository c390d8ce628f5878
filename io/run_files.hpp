// All removing, replacing and moving in a run's folder happens here. Only what a run wrote is touched, as
// told by the markers that it left (io/run_marker.hpp). What is not the run's stays.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace collie {

// Makes `folder`, in which `run` is about to write. The parent folder must exist. What an earlier attempt of
// the run left there is removed. Anything else is moved aside, with a warning. Throws RunError.
void begin_folder(const std::string& folder, const std::string& run);

// Ends what begin_folder() began. `files` lists what was written, by name with the SHA-256 (or "":
// RunMarker::files). The folder is synced, and from then on it stands at `place`, in one step. What stood
// there is then at `folder`, for clear_replaced(). Throws RunError.
void publish_folder(const std::string& folder, const std::string& place, const std::string& run,
                    const std::map<std::string, std::string>& files);

// Comes after publish_folder(). Removes what `run` wrote of the folder that was replaced. Other files of it
// stay where they were, now in the new folder. If the new folder has a file of the same name, they go to
// PLACE.old-N, with a warning. So does anything that was not a folder of the run. Throws RunError.
void clear_replaced(const std::string& folder, const std::string& place, const std::string& run);

// Notes in the marker of `folder` that `run` is about to write the file `name` there. Makes the folder if it
// does not exist or holds nothing. Throws RunError, also if the folder is not the run's.
void claim_file(const std::string& folder, const std::string& run, const std::string& name);

// Says whether `folder` is a folder without anything in it, or with no more than what is left if a run is
// killed while it makes a folder. A link to a folder never counts.
bool holds_nothing(const std::string& folder) noexcept;

// Says whether `run` made `folder`. A link to a folder never counts.
bool is_of_run(const std::string& folder, const std::string& run) noexcept;

constexpr std::string_view discarded_suffix = ".discarded";

// Removes the files that `run` wrote in `folder`, and then the folder if nothing else is in it. A folder that
// is not the run's stays as it is, unless it is empty. A folder that the run has not finished is gone as a
// whole, even if another thread is writing into it: it is renamed to FOLDER.discarded first. What a killed
// process left under that name goes, too.
void discard_folder(const std::string& folder, const std::string& run) noexcept;

// Removes FOLDER/name if it exists and is a regular file. Throws RunError.
void discard_file(const std::string& folder, const std::string& name);

// Renames `path` to PATH.old-N, with the first free N from 1, and returns that path. Throws RunError.
std::string move_aside(const std::string& path);

}  // namespace collie
