#include "plan/prediction_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>

#include "io/files.hpp"
#include "io/run_files.hpp"
#include "io/run_marker.hpp"

namespace collie {
namespace {

namespace fs = std::filesystem;

fs::path predictions_folder(const RunFolder& folder) {
  return (fs::path(folder.path()) / predictions_folder_name).parent_path();
}

// The step in NAME-STEP.jsonl; nothing for another name.
std::optional<int64_t> step_of_predictions(const std::string& name) {
  constexpr std::string_view end = ".jsonl";
  const size_t dash = name.rfind('-');
  if (!name.ends_with(end) || dash == std::string::npos) return std::nullopt;
  int64_t step = 0;
  const char* const last = name.data() + name.size() - end.size();
  const auto [stop, error] = std::from_chars(name.data() + dash + 1, last, step);
  return error == std::errc() && stop == last ? std::optional(step) : std::nullopt;
}

}  // namespace

bool keeps_predictions(const Config& config) {
  return std::any_of(config.eval.sets.begin(), config.eval.sets.end(),
                     [](const EvalSet& set) { return set.predictions; });
}

void keep_predictions(const RunFolder& folder, const std::string& set, int64_t step,
                      const std::string& lines) {
  const fs::path path = predictions_folder(folder);
  const std::string name = fmt::format("{}-{}.jsonl", set, step);
  claim_file(path.string(), folder.run(), name);
  write_file_durably((path / name).string(), lines);
}

void drop_predictions_after(const RunFolder& folder, int64_t step) {
  const std::string path = predictions_folder(folder).string();
  if (!is_of_run(path, folder.run())) return;
  const std::optional<RunMarker> marker = find_marker(path);
  if (!marker || !marker->files) return;
  for (const auto& [name, hash] : *marker->files)
    if (const auto of = step_of_predictions(name); of && *of > step) discard_file(path, name);
}

}  // namespace collie
