#include "app/standard_streams.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace collie {

// A closed standard output is opened for reading only, so that writing a result still fails. A closed
// standard input reads as empty, and a closed standard error discards messages.
void open_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    // open() returns the lowest free number, which is this one. If there is no /dev, the root folder is
    // opened instead.
    const int mode = descriptor == STDERR_FILENO ? O_WRONLY : O_RDONLY;
    if (::open("/dev/null", mode) < 0) ::open("/", O_RDONLY);
  }
}

void write_result(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<size_t>(written));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EPIPE) throw ReaderGone();
    if (errno != EAGAIN && errno != EWOULDBLOCK)
      throw RunError("standard output cannot be written: {}", std::generic_category().message(errno));
    pollfd room{STDOUT_FILENO, POLLOUT, 0};
    ::poll(&room, 1, -1);
  }
}

}  // namespace collie
