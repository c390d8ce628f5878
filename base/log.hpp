// The log goes to standard error, so that standard output stays free for what a command was asked for.
#pragma once

#include <spdlog/spdlog.h>

namespace collie::log {

using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::warn;

}  // namespace collie::log
