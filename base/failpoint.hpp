// Named points at which a test can make the process fail, to prove what survives it.
#pragma once

#include <string_view>

namespace collie {

// Does nothing unless the environment variable COLLIE_ENGINE_FAILPOINT names this point as NAME:COUNT:EFFECT.
// Then the COUNT-th (from 1) arrival of any thread takes effect:
//   kill   sends SIGKILL to this process
//   throw  throws std::runtime_error("failpoint NAME")
//   block  returns true, and the caller blocks where it is (a rank inside a collective)
//   pause  prints "failpoint NAME" on standard error, and goes on a second later
// To find all points: grep for failpoint(" in the sources.
bool failpoint(std::string_view name);

}  // namespace collie
