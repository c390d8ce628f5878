#include "io/file_hash.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <ctime>
#include <vector>

#include "base/error.hpp"
#include "base/sha256.hpp"
#include "io/files.hpp"
#include "io/positional_file.hpp"
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

std::string hash_of_file(const std::string& path) {
  const PositionalFile file(path);
  std::vector<std::byte> block(size_t{1} << 20);
  Sha256 hash;
  for (uint64_t done = 0; done < file.size(); done += block.size()) {
    block.resize(static_cast<size_t>(std::min<uint64_t>(block.size(), file.size() - done)));
    file.read(done, block);
    hash.update(block);
  }
  return hash.finish();
}

}  // namespace

FileMemory::FileMemory(const std::string& file, const std::filesystem::path& folder,
                       const std::string& suffix)
    : path_(std::filesystem::absolute(file).string()) {
  memory_ = folder / (sha256_hex(std::as_bytes(std::span(path_))) + suffix);
  state_ = state_of(path_);
}

std::string FileMemory::recall() const {
  if (state_.empty() || !may_be_there(memory_.string())) return "";
  try {
    const nlohmann::json kept = unseal(read_text_file(memory_.string()), memory_.string());
    if (kept.at("path") != path_ || kept.at("state") != state_) return "";
    return kept.at("content").get<std::string>();
  } catch (const std::exception&) {  // damaged, or of another version
    return "";
  }
}

void FileMemory::keep(const std::string& text) const {
  if (state_.empty() || state_of(path_) != state_) return;
  // The path is kept as JSON, but it may hold bytes that JSON cannot.
  const nlohmann::json kept = {{"path", path_}, {"state", state_}, {"content", text}};
  try {
    write_file_durably(memory_.string(), seal(kept));
  } catch (const nlohmann::json::exception&) {
  } catch (const RunError&) {
  }
}

FileHash::FileHash(const std::string& path, const std::filesystem::path& folder)
    : memory_(path, folder, ".hash"), sha256_(memory_.recall()) {
  remembered_ = !sha256_.empty();
  if (!remembered_) sha256_ = hash_of_file(path);
}

void FileHash::remember() const {
  if (!remembered_) memory_.keep(sha256_);
}

}  // namespace collie
