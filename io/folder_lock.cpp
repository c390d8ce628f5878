#include "io/folder_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.hpp"

namespace collie {

FolderLock::FolderLock(const std::string& folder) {
  const std::string file = folder + "/.lock";
  fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) throw RunError("cannot open {}: {}", file, std::strerror(errno));
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
  const int reason = errno;
  ::close(fd_);
  if (reason == EWOULDBLOCK)
    throw UserError("run.dir: another process is running in '{}'; wait for it, or give another run.dir",
                    folder);
  throw RunError("cannot lock {}: {}", file, std::strerror(reason));
}

FolderLock::~FolderLock() {
  ::close(fd_);
}

}  // namespace collie
