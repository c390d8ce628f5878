#include "net/peer_secret.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/error.hpp"

namespace collie {
namespace {

constexpr size_t most_bytes = 4096;

class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  ~Descriptor() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

void refuse_if_open_to_others(const struct stat& status, const std::string& file, const std::string& what) {
  if ((status.st_mode & 077) == 0) return;
  throw UserError("{}: '{}' can be used by others than its owner (its mode is {:03o}); say 'chmod 600 {}'",
                  what, file, status.st_mode & 0777U, file);
}

PeerKey key_of(std::string text, const std::string& from) {
  constexpr const char* white = " \t\r\n";
  const size_t first = text.find_first_not_of(white);
  if (first == std::string::npos) throw UserError("{}: is empty; a secret is needed", from);
  text = text.substr(first, text.find_last_not_of(white) - first + 1);
  PeerKey key{};
  ::EVP_Digest(text.data(), text.size(), key.data(), nullptr, ::EVP_sha256(), nullptr);
  return key;
}

PeerKey read_secret(const std::string& file, const std::string& what) {
  // O_NONBLOCK: the file may be a pipe, and open() must not wait for its other end.
  const Descriptor open(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (open.get() < 0 || ::fstat(open.get(), &status) != 0)
    throw UserError("{}: '{}' cannot be read: {}", what, file, std::strerror(errno));
  if (!S_ISREG(status.st_mode) || static_cast<size_t>(status.st_size) > most_bytes)
    throw UserError("{}: '{}' is no file of at most {} bytes", what, file, most_bytes);
  refuse_if_open_to_others(status, file, what);
  std::string text(most_bytes, '\0');
  const ssize_t count = ::read(open.get(), text.data(), text.size());
  if (count < 0) throw UserError("{}: '{}' cannot be read: {}", what, file, std::strerror(errno));
  text.resize(static_cast<size_t>(count));
  return key_of(std::move(text), fmt::format("{}: '{}'", what, file));
}

std::filesystem::path folder_of_state() {
  const char* const state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && *state == '/') return state;
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home != '/') {
    const passwd* const user = ::getpwuid(::getuid());
    home = user != nullptr ? user->pw_dir : nullptr;
  }
  if (home == nullptr || *home != '/')
    throw UserError(
        "cluster.secret_file: there is no home folder to keep a secret in; give a file, or "
        "COLLIE_ENGINE_SECRET");
  return std::filesystem::path(home) / ".local" / "state";
}

std::string random_text() {
  std::array<uint8_t, 32> bytes{};
  if (::RAND_bytes(bytes.data(), bytes.size()) != 1) throw RunError("there are no random numbers");
  std::string text;
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text + "\n";
}

// Several processes may do this at the same time. One of them makes the file, and all find it complete.
void make_secret(const std::filesystem::path& file) {
  const auto fail = [&] {
    throw UserError(
        "cluster.secret_file: '{}' cannot be made: {}; give a file elsewhere, or COLLIE_ENGINE_SECRET",
        file.string(), std::strerror(errno));
  };
  std::error_code error;
  std::filesystem::create_directories(file.parent_path(), error);
  errno = error ? error.value() : errno;
  if (error) fail();
  std::string partial = file.string() + ".XXXXXX";
  const Descriptor made(::mkstemp(partial.data()));  // mkstemp makes it with mode 0600
  if (made.get() < 0) fail();
  const std::string text = random_text();
  const bool written = ::write(made.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                       ::fsync(made.get()) == 0;
  const bool there = written && (::link(partial.c_str(), file.c_str()) == 0 || errno == EEXIST);
  const int why = errno;
  ::unlink(partial.c_str());
  errno = why;
  if (!there) fail();
}

}  // namespace

void check_private(const std::string& file, const std::string& what) {
  struct stat status {};
  if (::stat(file.c_str(), &status) == 0) refuse_if_open_to_others(status, file, what);
}

PeerKey cluster_secret(const ClusterSection& cluster) {
  if (!cluster.secret_file.empty()) return read_secret(cluster.secret_file, "cluster.secret_file");
  if (const char* const secret = std::getenv("COLLIE_ENGINE_SECRET"); secret != nullptr && *secret != '\0')
    return key_of(secret, "COLLIE_ENGINE_SECRET");
  const std::filesystem::path file = folder_of_state() / "collie-engine" / "secret";
  if (::access(file.c_str(), F_OK) != 0) make_secret(file);
  return read_secret(file.string(), "the user's secret");
}

}  // namespace collie
