// Reads and writes files for the whole project. Every failure names the path and the system's reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace collie {

// The bytes of a regular file. Throws UserError "cannot read PATH: No such file or directory".
std::string read_text_file(const std::string& path);

// The SHA-256 of a regular file's bytes. They are read and not mapped, so that what the disk cannot read is
// an error and not a signal. Throws UserError "cannot read PATH: ...".
std::string sha256_of_file(const std::string& path);

// Reads a file that may also be a pipe, such as /dev/stdin or <(COMMAND). More than `most` bytes are refused.
std::string read_stream(const std::string& path, uint64_t most);

// Says whether there is something at `path`, or whether something prevents knowing it (no permission, a loop
// of links). In that case reading it gives the reason.
bool may_be_there(const std::string& path);

// The files that a pattern names, sorted bytewise. Relative patterns resolve against the working directory
// and give relative paths. Within one folder's name, * ? [a-z] [!a] work, and \ makes the next character
// stand for itself. ** alone between slashes stands for any number of folders, none included (links to
// folders are not followed there). Names that begin with a dot match only a pattern that does too. Folders
// are skipped. A file whose name is exactly the pattern itself matches. Throws UserError naming the pattern
// and the working directory if nothing matches.
std::vector<std::string> expand_glob(const std::string& pattern);

// The type of the entry at the path itself: links are not followed. not_found means that there is nothing.
std::filesystem::file_type entry_type(const std::filesystem::path& path) noexcept;
inline bool entry_exists(const std::filesystem::path& path) noexcept {
  return entry_type(path) != std::filesystem::file_type::not_found;
}

// Says whether `path` is `folder` or below it. Both must be as std::filesystem::canonical() gives them.
bool is_within(const std::filesystem::path& path, const std::filesystem::path& folder);

// Puts `bytes` at `path` so that, whatever happens (crash, full disk, loss of power), the file is either as
// it was before or has all of `bytes`. It writes a temporary file in the same folder, then does fsync,
// rename, fsync of the folder. Throws RunError "cannot write PATH: No space left on device"; the temporary
// file is then gone.
void write_file_durably(const std::string& path, std::span<const std::byte> bytes);
void write_file_durably(const std::string& path, std::string_view text);

// Makes a new file that holds `text`, if there is none of its name. Throws RunError "cannot write PATH: File
// exists".
void create_file(const std::string& path, std::string_view text);

// Makes the names in a folder (created, renamed, deleted files) survive a loss of power. Throws RunError.
void fsync_directory(const std::string& path);

}  // namespace collie
