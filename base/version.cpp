#include "base/version.hpp"

#include <cstdlib>

namespace collie {

// Counts the changes of the messages between processes.
constexpr const char* messages = " (messages 3)";

// COLLIE_ENGINE_VERSION lets a test play a node of another version.
std::string engine_version() {
  const char* const pretended = std::getenv("COLLIE_ENGINE_VERSION");
  return pretended != nullptr ? pretended : std::string(COLLIE_VERSION) + messages;
}

}  // namespace collie
