#include "kernels/operations.hpp"

namespace collie {

Operations::Operations(DType dtype, std::shared_ptr<MemoryAccount> account)
    : dtype_(dtype), account_(std::move(account)) {
  COLLIE_ASSERT(account_ != nullptr, "operations need a memory account");
}

}  // namespace collie
