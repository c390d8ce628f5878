// The command's use of standard input, output and error.
#pragma once

#include <string_view>

#include "base/error.hpp"

namespace collie {

// Call this first in main(), before any file is opened: otherwise the next opened file would get the number
// of a closed standard descriptor. If standard output was closed, a result cannot be written. Messages to a
// closed standard error go nowhere.
void open_standard_descriptors();

// Thrown if the reader of a result has closed the pipe. It is no error, and there is nobody to report it to.
class ReaderGone : public RunError {
 public:
  ReaderGone() : RunError("the reader of standard output is gone") {}
};

// Writes all of a command's result to standard output, however slow its reader is. Throws ReaderGone, or
// RunError naming the reason ("No space left on device").
void write_result(std::string_view text);

}  // namespace collie
