#include "base/processors.hpp"

#include <thread>

#include "tests/catch.hpp"
#include "tests/io/scratch_folder.hpp"

using namespace collie;
using collie::test::ScratchFolder;

namespace {

constexpr const char* second_mount =
    "22 1 0:20 / /proc rw - proc proc rw\n"
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

// A system with these files below its root.
class System {
 public:
  System(const std::string& mounts, const std::string& groups) {
    folder_.write("proc/self/mountinfo", mounts);
    folder_.write("proc/self/cgroup", groups);
  }
  System& file(const std::string& path, const std::string& text) {
    folder_.write(path, text);
    return *this;
  }
  std::optional<double> quota() const { return processor_quota(folder_.path()); }

 private:
  ScratchFolder folder_;
};

}  // namespace

TEST_CASE("a quota of version 2 is the least of the group's and of all groups around it") {
  System system(second_mount, "0::/pods/one/box\n");
  CHECK(system.quota() == std::nullopt);
  system.file("sys/fs/cgroup/pods/one/box/cpu.max", "max 100000\n");
  CHECK(system.quota() == std::nullopt);
  system.file("sys/fs/cgroup/pods/one/cpu.max", "350000 100000\n");
  CHECK(system.quota() == 3.5);
  system.file("sys/fs/cgroup/pods/cpu.max", "100000 50000\n");
  CHECK(system.quota() == 2.0);
  system.file("sys/fs/cgroup/pods/one/box/cpu.max", "800000 100000\n");
  CHECK(system.quota() == 2.0);
  system.file("sys/fs/cgroup/cpu.max", "50000 100000\n");  // in a namespace of groups the mount has one, too
  CHECK(system.quota() == 0.5);
  system.file("sys/fs/cgroup/pods/other/cpu.max", "1000 100000\n");
  CHECK(system.quota() == 0.5);
}

TEST_CASE("a quota of version 1 is found where its controller is mounted") {
  const std::string mounts =
      "33 32 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "34 32 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
      "35 32 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n";
  System system(mounts, "5:memory:/a\n4:cpu,cpuacct:/docker/1f\n2:cpuset:/b\n");
  const std::string folder = "sys/fs/cgroup/cpu,cpuacct/docker/1f/";
  system.file(folder + "cpu.cfs_quota_us", "-1\n").file(folder + "cpu.cfs_period_us", "100000\n");
  CHECK(system.quota() == std::nullopt);
  system.file(folder + "cpu.cfs_quota_us", "150000\n");
  CHECK(system.quota() == 1.5);
}

TEST_CASE("in a container the mount is a part of the hierarchy, and the group is below that part") {
  const std::string mounts = "34 32 0:30 /docker/1f /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
  for (const char* group : {"4:cpu:/docker/1f\n", "4:cpu:/elsewhere\n", "4:cpu:/\n"}) {
    CAPTURE(group);
    System system(mounts, group);
    system.file("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000")
        .file("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000");
    CHECK(system.quota() == 4.0);
  }
  System inner(mounts, "4:cpu:/docker/1f/inner\n");
  inner.file("sys/fs/cgroup/cpu/inner/cpu.cfs_quota_us", "100000")
      .file("sys/fs/cgroup/cpu/inner/cpu.cfs_period_us", "100000");
  CHECK(inner.quota() == 1.0);
  System outside(second_mount, "0::/../other\n");
  outside.file("sys/fs/cgroup/cpu.max", "200000 100000");
  CHECK(outside.quota() == 2.0);
}

TEST_CASE("what is missing or malformed is no quota") {
  CHECK(System("", "").quota() == std::nullopt);
  CHECK(System("rubbish\n - \n1 2 3 4 5 6 -\n", "rubbish\n:\n").quota() == std::nullopt);
  CHECK(processor_quota("/nowhere/at/all") == std::nullopt);
  for (const char* text : {"", "max", "100000", "100000 0", "0 100000", "-5 100000", "1e5 100000", "a b",
                           "100000 100000 100000", "99999999999999999999 100000"}) {
    CAPTURE(text);
    System system(second_mount, "0::/\n");
    CHECK(system.file("sys/fs/cgroup/cpu.max", text).quota() == std::nullopt);
  }
}

TEST_CASE("the usable processors are at least one and at most those that are there") {
  CHECK(usable_processors() >= 1);
  CHECK(usable_processors() <= static_cast<int>(std::thread::hardware_concurrency()));
}
