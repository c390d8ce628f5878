// The engine's version. Processes that work on one run must have the same version.
#pragma once

#include <string>

namespace collie {

std::string engine_version();

}  // namespace collie
