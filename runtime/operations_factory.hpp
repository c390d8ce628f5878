// The factory of a rank's operation table: a device's, or a wrapper that a benchmark has put around it.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "kernels/operations.hpp"

namespace collie {

using OperationsFactory =
    std::function<std::unique_ptr<Operations>(int threads, std::shared_ptr<MemoryAccount> account)>;

// The CPU's tables. The dtype is float32 or bfloat16.
inline OperationsFactory cpu_operations(DType dtype) {
  return [dtype](int threads, std::shared_ptr<MemoryAccount> account) {
    return make_cpu_operations(threads, std::move(account), dtype);
  };
}

}  // namespace collie
