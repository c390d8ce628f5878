// The engine's version: processes that work on one run must have the same.
#pragma once

#include <string>

namespace collie {

std::string engine_version();

}  // namespace collie
