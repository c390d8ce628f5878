// A run knows what it wrote by markers: each folder that it makes (the run's own, each checkpoint, final/)
// holds a marker with the run's id and the names of the files that the run put there. What no marker names
// belongs to somebody else, whatever its name is.
#pragma once

#include <map>
#include <optional>
#include <string>

namespace collie {

inline constexpr const char* marker_name = "collie-run.json";

struct RunMarker {
  std::string run;  // 32 hexadecimal digits, one id per run folder
  // The files in the folder that the run wrote, by name or by path from the folder (is_plain_path()), each
  // with the SHA-256 of what it wrote, or with
  // "" if the file is the run's whatever it holds. nullopt means that the folder is being written and
  // everything in it is the run's.
  std::optional<std::map<std::string, std::string>> files = {};
  bool has_checkpointed = false;  // for the run's own folder: it has had a checkpoint
  bool operator==(const RunMarker&) const = default;
};

// A new run's id, from the system's random numbers.
std::string new_run_id();

// Puts the marker into `folder` and syncs. An existing marker is replaced in one step. Throws RunError.
void write_marker(const std::string& folder, const RunMarker& marker);

// Puts the marker into `folder`, which must have none. If the process is killed meanwhile, it leaves a
// complete marker, an empty file of its name or nothing, never another file. Throws RunError.
void create_marker(const std::string& folder, const RunMarker& marker);

// The marker of `folder`; none if the folder has none. Throws UserError naming the file if something has the
// marker's name but is no marker, or is not as it was written.
std::optional<RunMarker> read_marker(const std::string& folder);

// The same, but returns none for anything that is not a marker as it was written.
std::optional<RunMarker> find_marker(const std::string& folder) noexcept;

// Says whether `name` can only mean a file in the folder itself.
bool is_plain_name(const std::string& name);

// Says whether `path` consists of plain names with '/' between them, so that it stays within the folder as
// long as no link is on its way.
bool is_plain_path(const std::string& path);

}  // namespace collie
