// How a run knows again what it wrote: each folder that it makes (the run's own, each checkpoint, final/)
// holds a marker with the run's id and the names of the files that the run put there. What no marker names
// belongs to somebody else, whatever it is called.
#pragma once

#include <map>
#include <optional>
#include <string>

namespace collie {

inline constexpr const char* marker_name = "collie-run.json";

struct RunMarker {
  std::string run;  // 32 hexadecimal digits, of one run folder
  // The names of the files in the folder that the run wrote, with the SHA-256 of what it wrote; "" for a file
  // that is the run's whatever it holds. None: the folder is being written, and everything in it is the
  // run's.
  std::optional<std::map<std::string, std::string>> files = {};
  bool has_checkpointed = false;  // of the run's own folder: it has had a checkpoint
  bool operator==(const RunMarker&) const = default;
};

// A new run's id, from the system's random numbers.
std::string new_run_id();

// Puts the marker into `folder`, for one that is there already in one step, and syncs. RunError.
void write_marker(const std::string& folder, const RunMarker& marker);

// Puts the marker into `folder`, which must have none. A process that is killed meanwhile leaves a whole
// marker, an empty file of its name or nothing, never another file. RunError.
void create_marker(const std::string& folder, const RunMarker& marker);

// The marker of `folder`; none where the folder holds none. Throws UserError naming the file where there is
// something of the marker's name that is not one, or not as it was written.
std::optional<RunMarker> read_marker(const std::string& folder);

// The same, but none for what is not a marker as it was written.
std::optional<RunMarker> find_marker(const std::string& folder) noexcept;

// Whether `name` can only mean a file that stands in the folder itself.
bool is_plain_name(const std::string& name);

}  // namespace collie
