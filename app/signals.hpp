// The one place that owns the process's signals.
//
// SIGINT, SIGTERM and SIGHUP end the process at once with 130, unless somebody holds them (Held) to end in an
// orderly way; then the first is counted, and the second ends the process at once. SIGUSR1 asks a run for a
// checkpoint, and means nothing to anybody else. A reader that is gone is an error of the write (SIGPIPE),
// and so is a file that may not grow (SIGXFSZ).
//
// They are handled where they arrive, on whichever thread: the process ends though its threads hang, or could
// not be started.
#pragma once

#include "actors/launch.hpp"

namespace collie::signals {

// First in main(). SIGHUP stays ignored where it was (nohup). SIGINT and SIGTERM are handled although a shell
// may have them ignored for what it starts in the background: whoever sends them means this process. Signals
// that were blocked are let through.
void install();

// While one lives, the first ending signal does not end the process. One at a time.
class Held {
 public:
  Held();
  ~Held();
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  // What has been asked for since the last call.
  Wish wish();

 private:
  int ends_seen_ = 0, saves_seen_ = 0;
};

}  // namespace collie::signals
