// The end of the process when it cannot continue.
#pragma once

namespace collie {

// After this call an uncaught exception, on any thread and in any library, ends the process with one message
// and exit code 1, and not by a signal. If a library has given up without an exception, the message says
// which resource is short.
void end_with_words();

}  // namespace collie
