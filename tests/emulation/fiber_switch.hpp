// Tells the address sanitizer which stack is in use, as fibers change it behind its back
// (sanitizer/common_interface_defs.h). Does nothing without it.
#pragma once

#include <cstddef>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif

namespace collie::emulation {

struct Stack {
  const void* bottom = nullptr;
  size_t bytes = 0;
};

// Around a switch to another stack and back: leave() before it, back() at once after it.
class FiberSwitch {
 public:
  void leave([[maybe_unused]] const Stack& to) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&kept_, to.bottom, to.bytes);
#endif
  }
  // The stack that this one was reached from.
  Stack back() {
    Stack from;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(kept_, &from.bottom, &from.bytes);
#endif
    return from;
  }

 private:
  [[maybe_unused]] void* kept_ = nullptr;  // null at the first arrival on a stack
};

// Makes an object of each thread that calls it, which is given back at the thread's end; with the sanitizer
// it stays, as the end of a fiber unwinds a stack that it cannot follow.
template <class T>
T& of_this_thread() {
#ifdef __SANITIZE_ADDRESS__
  static thread_local T* const object = [] {
    const __lsan::ScopedDisabler no_leak;
    return new T;
  }();
  return *object;
#else
  static thread_local T object;
  return object;
#endif
}

}  // namespace collie::emulation
