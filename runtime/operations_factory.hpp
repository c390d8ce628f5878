// The factory of a rank's operation table: a device's, or a wrapper that a benchmark has put around it.
#pragma once

#include <functional>
#include <memory>

#include "kernels/operations.hpp"

namespace collie {

using OperationsFactory =
    std::function<std::unique_ptr<Operations>(int threads, std::shared_ptr<MemoryAccount> account)>;

}  // namespace collie
