// In which order a block's threads run where they run one after another: on the emulated device. A GPU has
// its own order, and these tests run twice on it, for the same bits.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#ifdef COLLIE_CUDA_EMULATED
#include <cuda_runtime.h>
#endif

namespace collie::test {

// What the tests try: the first thread first, and where COLLIE_TEST_THREAD_ORDERS=both asks for it, the last
// one first as well.
inline std::vector<bool> backward_orders() {
  const char* const orders = std::getenv("COLLIE_TEST_THREAD_ORDERS");
  return orders != nullptr && std::string(orders) == "both" ? std::vector<bool>{false, true}
                                                            : std::vector<bool>{false};
}

inline void set_backward_order([[maybe_unused]] bool backward) {
#ifdef COLLIE_CUDA_EMULATED
  emulation::set_backward_order(backward);
#endif
}

}  // namespace collie::test
