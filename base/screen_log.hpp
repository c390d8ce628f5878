// The log on a screen.
#pragma once

#include "base/screen.hpp"

namespace collie::log {

// From now on the log goes to `screen`, which outlives it: "warning: ...", the level in colour where the
// terminal is to be shown colours.
void write_to(Screen& screen);

}  // namespace collie::log
