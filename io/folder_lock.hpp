// Allows one process at a time in a run folder.
#pragma once

#include <string>

namespace collie {

// Holds an advisory lock (flock) on FOLDER/.lock until it is destroyed or the process ends, however it ends.
// Throws UserError if another process, or another run of this process, holds it, and otherwise RunError with
// the system's reason.
class FolderLock {
 public:
  explicit FolderLock(const std::string& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  // Says whether FOLDER/.lock is still the file that is locked. It is false once the folder was moved,
  // replaced or removed.
  bool is_in_place() const;

 private:
  std::string file_;
  int fd_ = -1;
};

}  // namespace collie
