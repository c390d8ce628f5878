#include "io/run_files.hpp"

#include <fcntl.h>
#include <stdio.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "base/error.hpp"
#include "base/log.hpp"
#include "io/files.hpp"
#include "io/run_marker.hpp"

namespace collie {

namespace fs = std::filesystem;

namespace {

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    entries.push_back(it->path());
  return entries;
}

// `name` is a path from `folder`. What a link leads to is not the run's.
bool is_as_written(const fs::path& folder, const fs::path& name, const std::string& hash) {
  fs::path file = folder;
  for (const fs::path& part : name.parent_path())
    if (entry_type(file /= part) != fs::file_type::directory) return false;
  file /= name.filename();
  if (entry_type(file) != fs::file_type::regular) return false;
  return hash.empty() || sha256_of_file(file.string()) == hash;
}

// Removes `folder`/`name`, and the folders on its way that hold nothing then.
void remove_file(const fs::path& folder, const fs::path& name) {
  std::error_code error;
  fs::remove(folder / name, error);
  for (fs::path parent = name.parent_path(); !parent.empty() && !error; parent = parent.parent_path())
    fs::remove(folder / parent, error);
}

// Says whether nothing but the marker is left.
bool remove_files(const fs::path& folder, const RunMarker& marker) {
  for (const auto& [name, hash] : *marker.files)
    if (is_as_written(folder, name, hash)) remove_file(folder, name);
  const auto left = entries_of(folder);
  return left.empty() || (left.size() == 1 && left.front().filename() == marker_name);
}

void remove_empty(const fs::path& folder) {
  std::error_code ignored;
  fs::remove(folder / marker_name, ignored);
  fs::remove(folder, ignored);
}

std::string doomed_name(const std::string& folder) {
  return folder + std::string(discarded_suffix);
}

// All in the folder is the run's, and another thread or node may still add to it. Under another name nothing
// new can be added, so what is listed there is all there is; only a file that was just being made may come
// behind it.
void remove_unfinished(const std::string& folder) {
  const std::string doomed = doomed_name(folder);
  std::error_code error;
  if (fs::rename(folder, doomed, error); error) throw fs::filesystem_error("rename", folder, error);
  constexpr int most_attempts = 10;
  for (int i = 0; i < most_attempts && entry_exists(doomed); ++i) fs::remove_all(doomed, error);
}

void rename_or_throw(const fs::path& from, const fs::path& to) {
  std::error_code error;
  if (fs::rename(from, to, error); error)
    throw RunError("{}: cannot be renamed to {}: {}", from.string(), to.string(), error.message());
}

std::string free_name(const std::string& path) {
  int64_t number = 1;
  while (entry_exists(fmt::format("{}.old-{}", path, number))) ++number;
  return fmt::format("{}.old-{}", path, number);
}

// If a file system cannot exchange two names, there is a moment in which nothing stands at `place`.
void swap_places(const fs::path& folder, const fs::path& place) {
  if (::renameat2(AT_FDCWD, folder.c_str(), AT_FDCWD, place.c_str(), RENAME_EXCHANGE) == 0) return;
  if (errno != EINVAL && errno != ENOSYS)
    throw RunError("{}: cannot be renamed to {}: {}", folder.string(), place.string(), std::strerror(errno));
  const std::string aside = move_aside(place.string());
  rename_or_throw(folder, place);
  rename_or_throw(aside, folder);
}

}  // namespace

void claim_file(const std::string& folder, const std::string& run, const std::string& name) {
  if (!entry_exists(folder) || holds_nothing(folder)) {
    std::error_code error;
    fs::remove(fs::path(folder) / marker_name, error);
    if (fs::create_directory(folder, error); error)
      throw RunError("{}: cannot be created: {}", folder, error.message());
    return create_marker(folder, {run, {{{name, ""}}}});
  }
  auto marker = is_of_run(folder, run) ? find_marker(folder) : std::nullopt;
  if (!marker || !marker->files)
    throw RunError("{}: this run did not write what is there; move it away", folder);
  (*marker->files)[name] = "";
  write_marker(folder, *marker);
}

// If a run is killed before it could write the marker, it leaves no more than an empty one.
bool holds_nothing(const std::string& folder) noexcept {
  if (entry_type(folder) != fs::file_type::directory) return false;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  if (error) return false;
  if (entry == fs::directory_iterator()) return true;
  const fs::path first = entry->path();
  if (entry.increment(error); error || entry != fs::directory_iterator()) return false;
  return first.filename() == marker_name && entry_type(first) == fs::file_type::regular &&
         fs::file_size(first, error) == 0 && !error;
}

bool is_of_run(const std::string& folder, const std::string& run) noexcept {
  if (entry_type(folder) != fs::file_type::directory) return false;
  const auto marker = find_marker(folder);
  return marker && marker->run == run;
}

void discard_folder(const std::string& folder, const std::string& run) noexcept {
  try {
    if (is_of_run(doomed_name(folder), run)) fs::remove_all(doomed_name(folder));
    if (entry_type(folder) != fs::file_type::directory) return;
    if (holds_nothing(folder)) return remove_empty(folder);
    auto marker = find_marker(folder);
    if (!marker || marker->run != run) return;
    if (!marker->files) return remove_unfinished(folder);
    if (remove_files(folder, *marker)) return remove_empty(folder);
    // It stays as a folder that the run made, with files that are not the run's.
    marker->files.emplace();
    write_marker(folder, *marker);
  } catch (const std::exception& error) {
    log::warn("{}: not all of what is no longer needed could be removed: {}", folder, error.what());
  }
}

void discard_file(const std::string& folder, const std::string& name) {
  const fs::path file = fs::path(folder) / name;
  if (entry_type(file) != fs::file_type::regular) return;
  std::error_code error;
  if (fs::remove(file, error); error)
    throw RunError("{}: cannot be removed: {}", file.string(), error.message());
}

std::string move_aside(const std::string& path) {
  std::string aside = free_name(path);
  rename_or_throw(path, aside);
  return aside;
}

void begin_folder(const std::string& folder, const std::string& run) {
  discard_folder(folder, run);
  if (entry_exists(folder))
    log::warn("{} is not what this run wrote; it is now {}", folder, move_aside(folder));
  std::error_code error;
  if (fs::create_directory(folder, error); error)
    throw RunError("{}: cannot be created: {}", folder, error.message());
  create_marker(folder, {run, std::nullopt});
}

void publish_folder(const std::string& folder, const std::string& place, const std::string& run,
                    const std::map<std::string, std::string>& files) {
  write_marker(folder, {run, files});  // also syncs the folder
  if (entry_exists(place))
    swap_places(folder, place);
  else
    rename_or_throw(folder, place);
  fsync_directory(fs::path(place).parent_path().string());
}

void clear_replaced(const std::string& folder, const std::string& place, const std::string& run) {
  const bool of_run = is_of_run(folder, run);
  discard_folder(folder, run);
  if (!entry_exists(folder)) return;
  if (of_run) {
    for (const fs::path& entry : entries_of(folder))
      if (entry.filename() != marker_name && !entry_exists(fs::path(place) / entry.filename()))
        rename_or_throw(entry, fs::path(place) / entry.filename());
    discard_folder(folder, run);
    if (!entry_exists(folder)) return;
  }
  const std::string aside = free_name(place);
  rename_or_throw(folder, aside);
  log::warn("{} held files that this run did not write; they are now in {}", place, aside);
}

}  // namespace collie
