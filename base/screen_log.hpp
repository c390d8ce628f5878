// Shows the log on a screen.
#pragma once

#include "base/screen.hpp"

namespace collie::log {

// From now on the log goes to `screen`, which must outlive it: "warning: ...", with the level in colour if
// the terminal is to show colours.
void write_to(Screen& screen);

}  // namespace collie::log
