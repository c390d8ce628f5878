// A file system that is soon full.
#pragma once

#include <sched.h>
#include <sys/mount.h>

#include <string>

namespace collie::test {

// Mounts one of `size` at `folder`, for this process and its children alone. Needs root: false without.
inline bool mount_small_disk(const std::string& folder, const std::string& size) {
  static const bool own_mounts =
      ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  return own_mounts && ::mount("tmpfs", folder.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
}

}  // namespace collie::test
