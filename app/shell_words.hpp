// Commands as people type them.
#pragma once

#include <string>
#include <vector>

namespace collie {

// The words as one line that a POSIX shell reads back to the same words: quoted where they need it.
std::string shell_line(const std::vector<std::string>& words);

}  // namespace collie
