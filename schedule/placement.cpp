// Says which stages a rank holds.
#include "base/error.hpp"
#include "schedule/builtin.hpp"
#include "schedule/schedules.hpp"

namespace collie::schedule {

void check_stages(const std::string& name, const StageRule& rule, int found) {
  if (found >= rule.least && found <= rule.most) return;
  if (rule.least < rule.most)
    throw UserError(
        "schedule {} has {} or more stages per rank: virtual_stages must be at least {}, found {}", name,
        rule.least, rule.least, found);
  throw UserError("schedule {} has {} per rank: virtual_stages must be {}, found {}", name,
                  rule.least == 1   ? "one stage"
                  : rule.least == 2 ? "two stages"
                                    : "more stages",
                  rule.least, found);
}

std::vector<int> ranks_of(const StageRule& rule, int ranks, int virtual_stages) {
  std::vector<int> result;
  for (int stage = 0; stage < ranks * virtual_stages; ++stage)
    result.push_back(rule.v_shape && stage >= ranks ? 2 * ranks - 1 - stage : stage % ranks);
  return result;
}

int stages_per_rank(const std::string& name, int requested) {
  if (requested < 1)
    throw UserError("a schedule needs at least 1 virtual stage per rank, found {}", requested);
  if (names_a_file(name)) {
    if (requested > 1) return requested;  // make_schedule() compares it with the file
    const Schedule file = read_schedule_file(name);
    if (file.stages % file.ranks != 0)
      throw UserError("schedule {}: the file has {} stages on {} ranks, not equally many on each", name,
                      file.stages, file.ranks);
    return file.stages / file.ranks;
  }
  const StageRule rule = schedules().find(name).stages;
  if (requested == 1) return rule.least;
  check_stages(name, rule, requested);
  return requested;
}

std::vector<int> rank_of_stage(const std::string& name, int ranks, int virtual_stages) {
  if (names_a_file(name)) {
    Schedule file = read_schedule_file(name);
    if (file.ranks != ranks || int64_t{file.stages} != int64_t{ranks} * virtual_stages)
      throw UserError("schedule {}: the file has {} ranks (rows) and {} stages, but {} and {} are asked for",
                      name, file.ranks, file.stages, ranks, int64_t{ranks} * virtual_stages);
    return std::move(file.rank_of_stage);
  }
  check_sizes({ranks, 1, virtual_stages, false});
  const StageRule rule = schedules().find(name).stages;
  check_stages(name, rule, virtual_stages);
  return ranks_of(rule, ranks, virtual_stages);
}

}  // namespace collie::schedule
