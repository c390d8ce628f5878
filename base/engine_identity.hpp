// Which engine the calling code is linked with, and against which headers that engine was compiled.
#pragma once

#include <string>

namespace collie {

// "0.1.0 (interface 3fa9c2d41b07)": the version, and a name of what the headers say (cmake/interface.cmake).
// COLLIE_ENGINE_INTERFACE lets a test play an engine of another version.
std::string engine_interface();

// An address that each copy of the engine in a process has of its own.
const void* this_engine();

}  // namespace collie
