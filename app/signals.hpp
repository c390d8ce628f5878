// The one place that handles the process's signals.
//
// SIGINT, SIGTERM and SIGHUP end the process at once with 130, unless somebody holds them (Held) to end in an
// orderly way. Then the first signal is counted, and the second ends the process at once. SIGUSR1 asks a run
// for a checkpoint, and has no other effect. A write to a reader that is gone (SIGPIPE), or to a file that
// may not grow (SIGXFSZ), fails with an error and raises no signal.
//
// Signals are handled on the thread where they arrive. So the process ends even if its threads hang or could
// not be started.
#pragma once

#include "actors/launch.hpp"

namespace collie::signals {

// Call this first in main(). SIGHUP stays ignored if it was ignored before (nohup). SIGINT and SIGTERM are
// handled although a shell may ignore them for background commands, because their sender means this process.
// Blocked signals are unblocked.
void install();

// While a Held lives, the first ending signal does not end the process. Only one may live at a time.
class Held {
 public:
  Held();
  ~Held();
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  // Returns the request since the last call.
  Wish wish();

 private:
  int ends_seen_ = 0, saves_seen_ = 0;
};

}  // namespace collie::signals
