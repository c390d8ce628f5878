// The number of processors that this process may use.
#pragma once

#include <optional>
#include <string>

namespace collie {

// Counts the processors that exist, that the process's affinity allows (taskset, cpuset) and that the quotas
// of its control groups pay for (docker run --cpus, a pod's limits: a part of one counts as one). At least 1.
int usable_processors();

// The number of processors that the quotas of this process's control groups, and of all groups around them,
// pay for; nothing if there is no quota. It reads version 2 of control groups (cpu.max) and version 1
// (cpu.cfs_quota_us, cpu.cfs_period_us): https://docs.kernel.org/admin-guide/cgroup-v2.html. `root` stands
// for / in tests. What is missing or cannot be understood is no quota.
std::optional<double> processor_quota(const std::string& root = "");

}  // namespace collie
