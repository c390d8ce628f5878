// The one place in which anything of a run's folder is removed, replaced or moved: only what a run wrote, by
// the markers that it left (io/run_marker.hpp). What is not the run's stays.
#pragma once

#include <map>
#include <string>

namespace collie {

// Makes `folder`, in which `run` is about to write; the folder that it is to stand in must be there. What an
// earlier attempt of the run left there is removed; anything else is moved aside, with a warning. RunError.
void begin_folder(const std::string& folder, const std::string& run);

// What was begun is whole: `files`, by name with their SHA-256 (or "": RunMarker::files), is what was
// written. It is synced and stands at `place` from then on, in one step. What stood there is then at
// `folder`, for clear_replaced(). RunError.
void publish_folder(const std::string& folder, const std::string& place, const std::string& run,
                    const std::map<std::string, std::string>& files);

// After publish_folder(): removes what `run` wrote of the folder that was replaced. Other files of it stay
// where they were, in the new folder, unless that has a file of the name: these, and what was no folder of
// the run, go to PLACE.old-N, with a warning. RunError.
void clear_replaced(const std::string& folder, const std::string& place, const std::string& run);

// Whether `folder` is one that `run` made. A link to a folder never is.
bool is_of_run(const std::string& folder, const std::string& run) noexcept;

// Removes the files that `run` wrote in `folder`, and the folder where nothing else is in it. A folder that
// is not the run's stays as it is, but for one in which nothing is.
void discard_folder(const std::string& folder, const std::string& run) noexcept;

// Removes FOLDER/name where that is a regular file, there or not. RunError.
void discard_file(const std::string& folder, const std::string& name);

// Renames `path` to PATH.old-N, the first N from 1 that is free, and returns that. RunError.
std::string move_aside(const std::string& path);

}  // namespace collie
