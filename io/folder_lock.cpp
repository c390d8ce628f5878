#include "io/folder_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.hpp"

namespace collie {

FolderLock::FolderLock(const std::string& folder) : file_(folder + "/.lock") {
  constexpr int attempts = 100;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    fd_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0) throw RunError("cannot open {}: {}", file_, std::strerror(errno));
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) break;
    // Another process may have moved the folder between the two calls. Then this lock belongs to another
    // folder.
    if (is_in_place()) return;
    ::close(fd_);
    fd_ = -1;
  }
  if (fd_ < 0) throw RunError("cannot lock {}: it is replaced again and again", file_);
  const int reason = errno;
  ::close(fd_);
  if (reason == EWOULDBLOCK)
    throw UserError("run.dir: another process is running in '{}'; wait for it, or give another run.dir",
                    folder);
  throw RunError("cannot lock {}: {}", file_, std::strerror(reason));
}

FolderLock::~FolderLock() {
  ::close(fd_);
}

bool FolderLock::is_in_place() const {
  struct stat held {
  }, there{};
  if (::fstat(fd_, &held) != 0) return true;
  // If the state cannot be found out, that is no reason to end a run: a server may not answer, for example.
  if (::stat(file_.c_str(), &there) != 0) return errno != ENOENT && errno != ENOTDIR;
  return held.st_dev == there.st_dev && held.st_ino == there.st_ino;
}

}  // namespace collie
