#include "kernels/cpu/blas.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "base/error.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"

namespace collie::cpu {

namespace {

constexpr const char* library_name = "libopenblas.so.0";

// OpenBLAS picks its kernels when it is loaded, by family and model. Older releases (Debian 12 has 0.3.21)
// take AMD's processors with AVX-512 for their AVX2 ancestors, at half the speed. SkylakeX is the plain
// AVX-512 choice.
void choose_core() {
#if defined(__x86_64__)
  if (std::getenv("OPENBLAS_CORETYPE") != nullptr) return;
  __builtin_cpu_init();
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (avx512 && __builtin_cpu_is("amd")) setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
#endif
}

template <class Function>
Function* symbol(void* library, const char* name) {
  void* const address = dlsym(library, name);
  if (address == nullptr) throw RunError("{} has no function {}: {}", library_name, name, dlerror());
  return reinterpret_cast<Function*>(address);
}

// OpenBLAS starts threads when it is loaded, and raises SIGINT if it cannot.
void want_no_threads() {
  setenv("OPENBLAS_NUM_THREADS", "1", 1);
}

void* open_library() {
  void* const library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
  if (library != nullptr) return library;
  const std::string why = dlerror();
  if (why.find("No such file") != why.npos)
    throw RunError("cannot load OpenBLAS ({}); install the package libopenblas0-pthread", why);
  const std::string limits = memory_limits();
  throw RunError("cannot load OpenBLAS ({}){}", why, limits.empty() ? "" : ": " + limits);
}

// The library itself uses these to find a buffer. All of its releases export both.
struct BufferFunctions {
  void* (*take)(int);
  void (*give)(void*);
};

BufferFunctions buffer_functions;  // set by load()

void* open_prepared_library() {
  choose_core();
  want_no_threads();
  return open_library();
}

void* library() {
  static void* const opened = open_prepared_library();
  return opened;
}

Blas load() {
  void* const opened = library();
  symbol<void(int)>(opened, "openblas_set_num_threads")(1);  // in case a host program had loaded it before
  buffer_functions = {symbol<void*(int)>(opened, "blas_memory_alloc"),
                      symbol<void(void*)>(opened, "blas_memory_free")};
  Blas result{symbol<decltype(cblas_sgemm)>(opened, "cblas_sgemm"),
              symbol<decltype(cblas_sgemv)>(opened, "cblas_sgemv"),
              symbol<char*()>(opened, "openblas_get_corename")()};
  log::debug("OpenBLAS runs its {} kernels", result.core);
  return result;
}

}  // namespace

void* blas_symbol(const char* name) {
  return reinterpret_cast<void*>(symbol<void()>(library(), name));
}

const Blas& blas() {
  static const Blas loaded = load();
  return loaded;
}

namespace {

std::mutex buffers_mutex;
int buffers_wanted = 0, buffers_made = 0;  // guarded by the mutex

// The library makes a buffer when all its buffers are taken.
void make_buffers(int count) {
  Room room;
  room.bytes = static_cast<size_t>(count - buffers_made) * blas_buffer_bytes;
  check_room(room);
  std::vector<void*> taken;
  for (int i = 0; i < count; ++i) taken.push_back(buffer_functions.take(0));
  const bool all = std::find(taken.begin(), taken.end(), nullptr) == taken.end();
  for (void* const buffer : taken)
    if (buffer != nullptr) buffer_functions.give(buffer);
  if (!all) throw RunError("OpenBLAS cannot serve {} threads at once; fewer ranks in a process can", count);
  buffers_made = count;
}

}  // namespace

BlasBuffers::BlasBuffers(int threads) : threads_(threads) {
  blas();
  const std::lock_guard lock(buffers_mutex);
  if (buffers_wanted + threads > buffers_made) make_buffers(buffers_wanted + threads);
  buffers_wanted += threads;
}

BlasBuffers::~BlasBuffers() {
  const std::lock_guard lock(buffers_mutex);
  buffers_wanted -= threads_;
}

}  // namespace collie::cpu
