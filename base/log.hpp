// The log goes to standard error. Standard output is for the command's result.
#pragma once

#include <spdlog/spdlog.h>

namespace collie::log {

using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::warn;

}  // namespace collie::log
