// Loaded before everything else (LD_PRELOAD), has all calls of pthread_create from the
// COLLIE_TEST_LAST_THREAD-th on fail, as where others take the last threads that a user may have.
#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                              void* argument) {
  using Function = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "pthread_create"));
  static const char* const last = std::getenv("COLLIE_TEST_LAST_THREAD");
  static std::atomic<long> calls{0};
  if (last != nullptr && ++calls > std::strtol(last, nullptr, 10)) return EAGAIN;
  return real(thread, attributes, start, argument);
}
