#include "io/run_folder.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.hpp"
#include "base/failpoint.hpp"
#include "io/checkpoint.hpp"
#include "io/checkpoint_name.hpp"
#include "io/files.hpp"
#include "io/run_files.hpp"

namespace collie {

namespace fs = std::filesystem;

namespace {

constexpr const char* cache_name = "cache";

[[noreturn]] void refuse(const std::string& folder, const std::string& what) {
  throw UserError("run.dir: '{}' {}", folder, what);
}

void check_folder(const std::string& folder, const std::string& at, mode_t mode) {
  if (!S_ISDIR(mode))
    refuse(folder, folder == at ? "is a file; a folder is wanted, there or to be made"
                                : fmt::format("cannot be made: '{}' is a file, not a folder", at));
  if (::access(at.c_str(), W_OK | X_OK) == 0) return;
  const char* reason = std::strerror(errno);
  refuse(folder, folder == at ? fmt::format("cannot be written to: {}", reason)
                              : fmt::format("cannot be made in '{}': {}", at, reason));
}

void check_link(const std::string& folder, const std::string& at) {
  std::error_code ignored;
  if (entry_type(at) == fs::file_type::symlink)
    refuse(folder, fmt::format("cannot be used: the link '{}' leads to '{}', which is not there", at,
                               fs::read_symlink(at, ignored).string()));
}

// The existing part of the folder's path must consist of folders, and something can be made in the last one.
void check_usable(const std::string& folder) {
  if (folder.empty())
    throw UserError("run.dir: is empty; the folder that the run is to be written to is wanted");
  std::string at = folder;
  while (true) {
    while (at.size() > 1 && at.back() == '/') at.pop_back();
    struct stat status {};
    if (::stat(at.c_str(), &status) == 0) return check_folder(folder, at, status.st_mode);
    const int reason = errno;
    if (reason != ENOENT && reason != ENOTDIR)
      refuse(folder, fmt::format("cannot be used: {}", std::strerror(reason)));
    check_link(folder, at);
    if (at == "." || at == "/") refuse(folder, fmt::format("cannot be used: {}", std::strerror(reason)));
    at = fs::path(at).parent_path().string();
    if (at.empty()) at = ".";
  }
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

bool is_folder(const std::string& output) {
  return output.ends_with('/');
}

// The name under which the run's marker has it.
std::string marker_key(const std::string& output) {
  return is_folder(output) ? output.substr(0, output.size() - 1) : output;
}

std::map<std::string, std::string> entries_of_run(const RunOutputs& outputs) {
  std::map<std::string, std::string> entries = {{resolved_config_name, ""}, {metrics_name, ""}};
  for (const std::string& output : outputs) entries[marker_key(output)] = "";
  return entries;
}

std::string stamp_of(const fs::path& file) {
  struct stat status {};
  if (::lstat(file.c_str(), &status) != 0) return "";
  return fmt::format("{} {}.{:09}", status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

std::optional<RunMarker> marker_of_checkpoints(const fs::path& folder, const RunOutputs& outputs) {
  auto entries = entries_of_run(outputs);
  entries.erase(trace_name);
  for (const std::string& name : names_in(folder))
    if (step_of_checkpoint(name))
      if (const auto marker = find_marker((folder / name).string()))
        return RunMarker{marker->run, entries, true};
  return std::nullopt;
}

void find_run(const fs::path& folder, const RunOutputs& outputs, RunFolderView& view) {
  std::string defect = "its " + std::string(marker_name) + " is missing";
  try {
    view.marker = read_marker(folder.string());
    if (view.marker && view.marker->files && view.marker->files->count(metrics_name)) return;
    if (view.marker)
      defect =
          fmt::format("{}: it is the marker of another folder of a run", (folder / marker_name).string());
  } catch (const UserError& error) {
    defect = error.what();
  }
  view.marker = marker_of_checkpoints(folder / "checkpoints", outputs);
  if (view.marker) {
    view.marker_defect = defect;
  } else if (entry_exists(folder / marker_name)) {
    throw UserError(
        "run.dir: {}. So what a run wrote in '{}' cannot be told from other files; move the folder away, or "
        "give another run.dir",
        defect, folder.string());
  }
}

// Says whether a file or folder that stands where the run will write is the run's.
bool is_of_this_run(const fs::path& path, bool is_folder, const RunFolderView& view) {
  const bool named = view.marker && view.marker->files && view.marker->files->count(path.filename().string());
  if (!is_folder) return named && entry_type(path) == fs::file_type::regular;
  return holds_nothing(path.string()) || (view.marker && is_of_run(path.string(), view.marker->run));
}

void find_foreign(const fs::path& folder, const RunOutputs& outputs, RunFolderView& view) {
  const auto check = [&](const std::string& name, bool is_folder) {
    if (entry_exists(folder / name) && !is_of_this_run(folder / name, is_folder, view))
      view.foreign.push_back(name);
  };
  check(resolved_config_name, false);
  check(metrics_name, false);
  for (const std::string& output : outputs)
    if (output != metrics_name) check(marker_key(output), is_folder(output));
  const bool here = view.marker && view.marker->files;
  std::error_code error;
  const fs::path checkpoints = folder / "checkpoints";
  if (entry_exists(checkpoints) &&
      (!fs::is_directory(checkpoints, error) || (!here && !view.checkpoints.empty())))
    view.foreign.push_back("checkpoints");
  if (entry_exists(folder / "final") && (!here || !is_of_run((folder / "final").string(), view.marker->run)))
    view.foreign.push_back("final");
}

// Removes what the run wrote directly in its folder, except config.resolved.yaml, which every start replaces.
void discard_outputs(const std::string& folder, const RunMarker& marker) {
  if (!marker.files) return;
  for (const auto& [name, ignored] : *marker.files) {
    if (name == resolved_config_name) continue;
    discard_file(folder, name);
    discard_folder((fs::path(folder) / name).string(), marker.run);
  }
}

std::unique_ptr<const FolderLock> lock_folder(const std::string& folder) {
  try {
    return std::make_unique<const FolderLock>(folder);
  } catch (const RunError& error) {
    throw UserError("run.dir: {}", error.what());
  }
}

// Makes an empty folder with the first free name.
fs::path claim_name(const std::string& folder, const fs::path& whole) {
  for (int64_t number = 1;; ++number) {
    const fs::path aside = fmt::format("{}.old-{}", whole.string(), number);
    if (::mkdir(aside.c_str(), 0777) == 0) return aside;
    if (errno != EEXIST)
      refuse(folder,
             fmt::format("cannot be moved to '{}': {}; remove its run with --overwrite=delete, or give "
                         "another run.dir",
                         aside.string(), std::strerror(errno)));
  }
}

// The same for PATH-N, in the run's own folder.
fs::path make_first_free(const fs::path& path) {
  for (int64_t number = 1;; ++number) {
    const fs::path made = fmt::format("{}-{}", path.string(), number);
    if (::mkdir(made.c_str(), 0777) == 0) return made;
    if (errno != EEXIST) throw RunError("{}: cannot be created: {}", made.string(), std::strerror(errno));
  }
}

}  // namespace

RunFolderView look_at_run_folder(const std::string& folder, const RunOutputs& outputs) {
  check_usable(folder);
  RunFolderView view;
  view.checkpoints = names_in(fs::path(folder) / "checkpoints");
  view.has_final = entry_exists(fs::path(folder) / "final");
  view.metrics = stamp_of(fs::path(folder) / metrics_name);
  find_run(folder, outputs, view);
  find_foreign(folder, outputs, view);
  return view;
}

bool is_writable_folder(const std::string& folder) {
  std::error_code ignored;
  return fs::is_directory(folder, ignored) && ::access(folder.c_str(), W_OK | X_OK) == 0;
}

RunFolder::RunFolder(std::string folder) : folder_(std::move(folder)) {
  std::error_code error;
  if (fs::create_directories(folder_, error); error && !fs::is_directory(folder_))
    refuse(folder_, fmt::format("cannot be created: {}", error.message()));
  lock_ = lock_folder(folder_);
}

std::string RunFolder::checkpoints() const {
  return (fs::path(folder_) / "checkpoints").string();
}

std::string RunFolder::final_model() const {
  return (fs::path(folder_) / "final").string();
}

std::string RunFolder::move_aside() {
  std::error_code error;
  const fs::path whole = fs::canonical(folder_, error);
  if (error) refuse(folder_, fmt::format("cannot be used: {}", error.message()));
  if (is_within(fs::current_path(error), whole))
    refuse(folder_,
           "holds the working directory, so it cannot be moved aside; start the command elsewhere, "
           "remove the run with --overwrite=delete, or give another run.dir");
  const fs::path aside = claim_name(folder_, whole);
  if (fs::rename(whole, aside, error); error) {
    const std::string reason = error.message();
    fs::remove(aside, error);
    refuse(folder_,
           fmt::format("cannot be moved to '{}': {}; remove its run with --overwrite=delete, or give "
                       "another run.dir",
                       aside.string(), reason));
  }
  if (fs::create_directory(whole, aside, error); error)  // with the rights of the old one
    refuse(folder_, fmt::format("cannot be created: {}; the run that was there is now in '{}'",
                                error.message(), aside.string()));
  lock_ = lock_folder(folder_);
  // The tokens of the data are equally useful to the new run; without them it makes its own.
  if (fs::is_directory(aside / cache_name, error)) fs::rename(aside / cache_name, whole / cache_name, error);
  return aside.string();
}

void RunFolder::discard(const RunMarker& marker) {
  discard_outputs(folder_, marker);
  discard_file(folder_, resolved_config_name);
  discard_checkpoints({checkpoints(), marker.run});
  discard_folder(final_model() + ".partial", marker.run);
  discard_folder(final_model(), marker.run);
}

std::string RunFolder::set_aside(std::vector<int64_t> steps, bool with_final) {
  const fs::path folder = folder_, aside = make_first_free(folder / "set-aside");
  const auto move = [&](const fs::path& from) {
    failpoint("run.set_aside");
    std::error_code error;
    if (fs::rename(from, aside / from.filename(), error); error)
      throw RunError("{}: cannot be moved to {}: {}", from.string(), aside.string(), error.message());
  };
  if (entry_exists(folder / metrics_name))
    write_file_durably((aside / metrics_name).string(), read_text_file((folder / metrics_name).string()));
  if (with_final) move(final_model());
  std::sort(steps.rbegin(), steps.rend());  // the newest first
  for (const int64_t step : steps) move(fs::path(checkpoints()) / checkpoint_name(step));
  for (const fs::path& changed : {aside, fs::path(checkpoints()), folder}) fsync_directory(changed.string());
  return aside.string();
}

void RunFolder::forget_steps(const RunMarker& marker) {
  discard_outputs(folder_, marker);
}

void RunFolder::begin(const std::optional<RunMarker>& previous, const RunOutputs& outputs) {
  marker_ = previous.value_or(RunMarker{new_run_id()});
  if (!marker_.files) marker_.files.emplace();
  marker_.files->merge(entries_of_run(outputs));
  write_marker(folder_, marker_);
  std::error_code error;
  if (fs::create_directories(checkpoints(), error); error && !fs::is_directory(checkpoints()))
    throw RunError("{}: cannot be created: {}", checkpoints(), error.message());
}

bool RunFolder::has_output(const std::string& output) const {
  return marker_.files && marker_.files->count(marker_key(output)) > 0;
}

bool RunFolder::is_in_place() const {
  return lock_->is_in_place();
}

void RunFolder::check_in_place() const {
  if (!is_in_place())
    throw RunError(
        "run.dir: '{}' is no longer the folder that the run was started in: somebody has moved, replaced or "
        "removed it; put it back where it was and go on with --resume",
        folder_);
}

void RunFolder::note_checkpoint() {
  if (marker_.has_checkpointed) return;
  marker_.has_checkpointed = true;
  write_marker(folder_, marker_);
}

}  // namespace collie
