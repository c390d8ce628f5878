#include "io/appended_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/error.hpp"
#include "base/log.hpp"

namespace collie {

namespace {

std::string reason(int code) {
  return std::generic_category().message(code);
}

}  // namespace

AppendedFile::AppendedFile(const std::string& path)
    : path_(path), file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) {
  if (!file_.is_open()) throw RunError("cannot write {}: {}", path, reason(errno));
}

void AppendedFile::append(std::string_view bytes) {
  const off_t before = ::lseek(file_.get(), 0, SEEK_END);
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t written = ::write(file_.get(), bytes.data() + done, bytes.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int code = errno;
      if (done > 0 && before >= 0 && ::ftruncate(file_.get(), before) != 0)
        log::warn("{}: what was written last is torn: {}", path_, reason(errno));
      throw RunError("cannot write {}: {}", path_, reason(code));
    }
    done += static_cast<size_t>(written);
  }
}

}  // namespace collie
