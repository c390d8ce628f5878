// Standard input, output and error as the command uses them.
#pragma once

#include <string_view>

#include "base/error.hpp"

namespace collie {

// First in main(), before any file is opened: a standard descriptor that is closed would be the next file's.
// Where standard output was closed a result cannot be written; messages to a closed standard error go
// nowhere.
void open_standard_descriptors();

// Thrown where whoever was to read a result has closed the pipe: nothing is wrong, and nobody is there to be
// told.
class ReaderGone : public RunError {
 public:
  ReaderGone() : RunError("the reader of standard output is gone") {}
};

// Writes what a command was asked for to standard output, whole, however slow its reader is. Throws
// ReaderGone, or RunError naming the reason ("No space left on device").
void write_result(std::string_view text);

}  // namespace collie
