#include "schedule/schedules.hpp"

#include "base/error.hpp"
#include "base/regular_file.hpp"
#include "schedule/builtin.hpp"
#include "schedule/simulator.hpp"
#include "schedule/validator.hpp"

namespace collie::schedule {
namespace {

constexpr uint64_t longest_file = uint64_t{1} << 26;

void check_agreement(const Schedule& schedule, const Sizes& sizes) {
  const auto same = [&](const char* what, int64_t found, int64_t wanted) {
    if (found != wanted)
      throw UserError("schedule {}: the file has {} {}, but {} are asked for", schedule.name, found, what,
                      wanted);
  };
  same("ranks (rows)", schedule.ranks, sizes.ranks);
  same("stages", schedule.stages, int64_t{sizes.ranks} * sizes.virtual_stages);
  same("micro-batches", schedule.micro_batches, sizes.micro_batches);
  if (schedule.forward_only)
    throw UserError("schedule {}: the file has no backward action (B, or I and W)", schedule.name);
}

Schedule made_by(const NamedSchedule& maker, const std::string& name, const Sizes& sizes) {
  check_stages(name, maker.stages, sizes.virtual_stages);
  Schedule schedule = maker.lists(sizes);
  if (schedule.rank_of_stage != ranks_of(maker.stages, sizes.ranks, sizes.virtual_stages))
    throw UserError("schedule {}: its stages are on other ranks than it was registered with", name);
  return schedule;
}

}  // namespace

Registry<NamedSchedule>& schedules() {
  static Registry<NamedSchedule> registry("schedule", "parallel.schedule");
  static const bool filled = [] {
    registry.add("gpipe", {gpipe, one_stage});
    registry.add("1f1b", {one_forward_one_backward, one_stage});
    registry.add("interleaved_1f1b", {interleaved, several_stages});
    registry.add("zb_h1", {zb_h1, one_stage});
    registry.add("zbv", {zbv, v_stages});
    registry.add("dualpipe_v", {dualpipe_v, v_stages});
    return true;
  }();
  static_cast<void>(filled);
  return registry;
}

bool names_a_file(const std::string& name) {
  return name.size() > 4 && name.ends_with(".csv");
}

Schedule read_schedule_file(const std::string& path, const Limits& limits) {
  Schedule schedule = from_csv(read_regular_file(path, longest_file), path);
  validate(schedule, limits);
  return schedule;
}

Schedule make_schedule(const std::string& name, const Sizes& sizes, const Limits& limits) {
  check_sizes(sizes);
  if (!names_a_file(name)) {
    Schedule schedule = made_by(schedules().find(name), name, sizes);
    validate(schedule, limits);
    return schedule;
  }
  Schedule schedule = read_schedule_file(name, limits);
  check_agreement(schedule, sizes);
  if (!sizes.split_backward) return schedule;
  schedule = with_split_backward(std::move(schedule));
  validate(schedule, limits);
  return schedule;
}

Schedule with_split_backward(Schedule schedule) {
  for (size_t rank = 0; rank < schedule.lists.size(); ++rank) {
    ActionList split;
    std::vector<int> columns;
    const ActionList& list = schedule.lists[rank];
    for (size_t i = 0; i < list.size(); ++i) {
      const bool whole = list[i].kind == ActionKind::backward;
      split.push_back(list[i]);
      if (whole) {
        split.back().kind = ActionKind::backward_input;
        split.push_back({ActionKind::backward_weight, list[i].stage, list[i].micro_batch});
      }
      if (!schedule.columns.empty()) columns.insert(columns.end(), whole ? 2 : 1, schedule.columns[rank][i]);
    }
    schedule.lists[rank] = std::move(split);
    if (!schedule.columns.empty()) schedule.columns[rank] = std::move(columns);
  }
  return schedule;
}

}  // namespace collie::schedule
