#include "kernels/cpu/instruction_sets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/instruction_sets.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#if HWY_ONCE
#include "base/error.hpp"

namespace collie::cpu {

namespace {

// The bits of the targets that are compiled in and supported. The lowest bit is the best target.
std::vector<int64_t> available_targets() {
  hwy::SetSupportedTargetsForTest(0);  // forget an earlier choice
  std::vector<int64_t> targets;
  for (int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1)
    targets.push_back(rest & -rest);
  return targets;
}

}  // namespace

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const int64_t target : available_targets()) names.emplace_back(hwy::TargetName(target));
  return names;
}

void use_instruction_set(const std::string& name) {
  for (const int64_t target : available_targets()) {
    if (!name.empty() && name != hwy::TargetName(target)) continue;
    if (!name.empty()) hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    return;
  }
  COLLIE_ASSERT(false, "no instruction set '{}' here", name);
}

}  // namespace collie::cpu
#endif  // HWY_ONCE
