#include "io/file_hash.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <ctime>

#include "base/error.hpp"
#include "base/sha256.hpp"
#include "io/files.hpp"
#include "io/sealed_json.hpp"

namespace collie {

namespace {

constexpr int64_t second_ns = 1'000'000'000;

int64_t nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * second_ns + time.tv_nsec;
}

// The state that tells a file's contents from later contents; empty if they cannot be told apart.
std::string state_of(const std::string& path) {
  struct stat status {};
  timespec now{};
  if (::stat(path.c_str(), &status) != 0 || ::clock_gettime(CLOCK_REALTIME, &now) != 0) return "";
  const int64_t changed = nanoseconds(status.st_ctim);
  if (nanoseconds(now) - changed < 2 * second_ns) return "";
  return fmt::format("device {}, inode {}, {} bytes, written {}, changed {}", status.st_dev, status.st_ino,
                     status.st_size, nanoseconds(status.st_mtim), changed);
}

// The hash that `memory` has of a file in that state; empty if it has none.
std::string remembered(const std::filesystem::path& memory, const std::string& path,
                       const std::string& state) {
  if (state.empty() || !may_be_there(memory.string())) return "";
  try {
    const nlohmann::json kept = unseal(read_text_file(memory.string()), memory.string());
    if (kept.at("path") != path || kept.at("state") != state) return "";
    return kept.at("content").get<std::string>();
  } catch (const std::exception&) {  // damaged, or of another version: the file is hashed again
    return "";
  }
}

}  // namespace

FileHash::FileHash(const MappedFile& file, const std::filesystem::path& folder)
    : path_(std::filesystem::absolute(file.path()).string()) {
  memory_ = folder / (sha256_hex(std::as_bytes(std::span(path_))) + ".hash");
  state_ = state_of(path_);
  sha256_ = remembered(memory_, path_, state_);
  remembered_ = !sha256_.empty();
  if (!remembered_) sha256_ = sha256_hex(file.bytes());
}

void FileHash::remember() const {
  if (remembered_ || state_.empty() || state_of(path_) != state_) return;
  // The path is kept as JSON, but it may hold bytes that JSON cannot.
  const nlohmann::json kept = {{"path", path_}, {"state", state_}, {"content", sha256_}};
  try {
    write_file_durably(memory_.string(), seal(kept));
  } catch (const nlohmann::json::exception&) {
  } catch (const RunError&) {
  }
}

}  // namespace collie
