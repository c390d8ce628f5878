#include <cstdlib>

#include "base/engine_identity.hpp"
#include "base/interface.hpp"

namespace collie {

std::string engine_interface() {
  const char* const pretended = std::getenv("COLLIE_ENGINE_INTERFACE");
  return pretended != nullptr ? pretended : COLLIE_INTERFACE;
}

const void* this_engine() {
  static const char here = 0;
  return &here;
}

}  // namespace collie
