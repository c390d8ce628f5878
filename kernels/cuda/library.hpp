// NVIDIA's libraries are loaded at run time.
#pragma once

#include "base/library.hpp"

namespace collie::cuda {

using collie::Library;

}  // namespace collie::cuda
