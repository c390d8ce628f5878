// Files as the whole project reads and writes them: every failure names the path and the system's reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace collie {

// The bytes of a regular file. UserError "cannot read PATH: No such file or directory".
std::string read_text_file(const std::string& path);

// The SHA-256 of a regular file's bytes, which are read, not mapped: what the disk cannot read is an error,
// not a signal. UserError "cannot read PATH: ...".
std::string sha256_of_file(const std::string& path);

// The same for a file that may be a pipe, too, as /dev/stdin and <(COMMAND) are; more than `most` bytes are
// refused.
std::string read_stream(const std::string& path, uint64_t most);

// Whether there is something at `path`, or something that keeps one from knowing (no permission, a loop of
// links): reading it then says what.
bool may_be_there(const std::string& path);

// The files that a pattern names, sorted bytewise; relative patterns resolve against the working directory
// and give relative paths. Within one folder's name: * ? [a-z] [!a] and \ before a character that stands for
// itself; ** alone between slashes stands for any number of folders, none included (links to folders are not
// followed there). Names that begin with a dot match only a pattern that does too. Folders are skipped. A
// file whose name is the pattern itself, letter by letter, is that file. UserError naming pattern and working
// directory where nothing matches.
std::vector<std::string> expand_glob(const std::string& pattern);

// What stands at the path itself: links are not followed. not_found: nothing.
std::filesystem::file_type entry_type(const std::filesystem::path& path) noexcept;

// Whether `path` is `folder` or below it; both as std::filesystem::canonical() gives them.
bool is_within(const std::filesystem::path& path, const std::filesystem::path& folder);

// Puts `bytes` at `path` so that, whatever happens (crash, full disk, loss of power), the file is either what
// it was before or all of `bytes`: a temporary file in the same folder, fsync, rename, fsync of the folder.
// RunError "cannot write PATH: No space left on device"; the temporary file is then gone.
void write_file_durably(const std::string& path, std::span<const std::byte> bytes);
void write_file_durably(const std::string& path, std::string_view text);

// A new file that holds `text`, where none of its name is. RunError "cannot write PATH: File exists".
void create_file(const std::string& path, std::string_view text);

// Makes the names in a folder (created, renamed, deleted files) survive a loss of power. RunError.
void fsync_directory(const std::string& path);

}  // namespace collie
