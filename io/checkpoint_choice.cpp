#include "io/checkpoint_choice.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/quote.hpp"
#include "io/checkpoint_name.hpp"
#include "io/evaluated_checkpoints.hpp"

namespace collie {

namespace fs = std::filesystem;

namespace {

std::string path_of(const std::string& folder, int64_t step) {
  return (fs::path(folder) / checkpoint_name(step)).string();
}

Checkpoint open_step(const std::string& folder, int64_t step) {
  const std::vector<int64_t> steps = checkpoint_steps(folder);
  if (std::find(steps.begin(), steps.end(), step) != steps.end())
    return Checkpoint::open(path_of(folder, step));
  throw UserError("{}: there is no checkpoint of step {}; {}", folder, step,
                  steps.empty() ? "it holds none" : fmt::format("it holds {}", fmt::join(steps, ", ")));
}

Checkpoint open_best(const std::string& folder) {
  std::vector<std::string> defects;
  const auto best = best_first(evaluated_checkpoints(folder, &defects));
  for (const EvaluatedCheckpoint& each : best) {
    try {
      Checkpoint checkpoint = Checkpoint::open(path_of(folder, each.step));
      for (const std::string& defect : defects) log::warn("skipping a defective checkpoint: {}", defect);
      return checkpoint;
    } catch (const std::exception& error) {
      defects.emplace_back(error.what());
    }
  }
  const std::vector<int64_t> steps = checkpoint_steps(folder);
  if (steps.empty()) throw UserError("{}: there is no checkpoint", folder);
  if (!best.empty())
    throw UserError("{}: none of its evaluated checkpoints can be read: {}", folder, defects.back());
  throw UserError(
      "{}: no checkpoint says how it was evaluated, so none is known to be the best; a run evaluates with "
      "data.eval and keeps the best with checkpoint.keep_best. 'last' or a step is right here ({}){}",
      folder, fmt::join(steps, ", "), defects.empty() ? "" : "; cannot be read: " + defects.front());
}

}  // namespace

CheckpointChoice parse_checkpoint_choice(const std::string& text, const std::string& option,
                                         bool may_be_base) {
  using Kind = CheckpointChoice::Kind;
  if (text == "last") return {Kind::last};
  if (text == "best") return {Kind::best};
  if (text == "base" && may_be_base) return {Kind::base};
  CheckpointChoice choice{Kind::step};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), choice.step);
  if (error != std::errc() || end != text.data() + text.size() || choice.step < 0)
    throw UserError("{}: found '{}'; a step such as 200, best{} is wanted", option, shortened(text),
                    may_be_base ? ", last or base" : " or last");
  return choice;
}

std::string to_string(const CheckpointChoice& choice) {
  using Kind = CheckpointChoice::Kind;
  switch (choice.kind) {
    case Kind::automatic:
      return "";
    case Kind::base:
      return "base";
    case Kind::last:
      return "last";
    case Kind::best:
      return "best";
    case Kind::step:
      return std::to_string(choice.step);
  }
  return "";
}

std::optional<Checkpoint> open_checkpoint(const std::string& folder, const CheckpointChoice& choice) {
  using Kind = CheckpointChoice::Kind;
  switch (choice.kind) {
    case Kind::base:
      return std::nullopt;
    case Kind::automatic:
    case Kind::last:
      return latest_checkpoint(folder);
    case Kind::best:
      return open_best(folder);
    case Kind::step:
      return open_step(folder, choice.step);
  }
  return std::nullopt;
}

}  // namespace collie
