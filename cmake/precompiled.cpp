// CMake precompiles headers for a target that has a source which uses them: this one.
#include "cmake/precompiled.hpp"
