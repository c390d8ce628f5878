// Regular files, whose contents stand still: only those can be mapped, or read twice with the same result. A
// pipe, a device or a socket is refused before anything could wait for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/descriptor.hpp"

namespace collie {

// Throws UserError "KEY: cannot read PATH: it is a pipe; a regular file is wanted", or with the system's
// reason. `key`, if given, is the configuration key that names the file.
void check_regular_file(const std::string& path, const std::string& key = "");

// A file opened for reading, and its size. Throws UserError like check_regular_file().
struct RegularFile {
  Descriptor descriptor;
  uint64_t bytes;
};
RegularFile open_regular_file(const std::string& path);

// Reads the rest of `descriptor`. Throws UserError if there is more than `most`, or with the system's reason;
// `path` is for messages.
std::string read_all(int descriptor, const std::string& path, uint64_t most);

// The bytes of a regular file. A file longer than any text the engine reads is refused. Throws UserError.
constexpr uint64_t longest_text_file = uint64_t{1} << 30;
std::string read_regular_file(const std::string& path, uint64_t most = longest_text_file);

}  // namespace collie
