// How the process ends when nothing can be gone on with.
#pragma once

namespace collie {

// From now on an exception that nobody catches, on any thread, in any library, ends the process with one
// message and exit code 1, and not by a signal. Where a library has given up without an exception, the
// message says what is short.
void end_with_words();

}  // namespace collie
