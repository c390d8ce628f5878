#include "base/version.hpp"

#include <cstdlib>

namespace collie {

// COLLIE_ENGINE_VERSION lets a test play a node of another version.
std::string engine_version() {
  const char* const pretended = std::getenv("COLLIE_ENGINE_VERSION");
  return pretended != nullptr ? pretended : COLLIE_VERSION;
}

}  // namespace collie
