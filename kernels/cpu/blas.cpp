#include "kernels/cpu/blas.hpp"

#include <dlfcn.h>

#include <cstdlib>

#include "base/error.hpp"
#include "base/log.hpp"

namespace collie::cpu {

namespace {

constexpr const char* library_name = "libopenblas.so.0";

// OpenBLAS picks its kernels when it is loaded, by family and model. Older releases (Debian 12 has 0.3.21)
// take AMD's processors with AVX-512 for their AVX2 ancestors, at half the speed; SkylakeX is the plain
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

Blas load() {
  choose_core();
  void* const library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    throw RunError("cannot load OpenBLAS ({}); install the package libopenblas0-pthread", dlerror());
  symbol<void(int)>(library, "openblas_set_num_threads")(1);
  Blas result{symbol<decltype(cblas_sgemm)>(library, "cblas_sgemm"),
              symbol<decltype(cblas_sgemv)>(library, "cblas_sgemv"),
              symbol<char*()>(library, "openblas_get_corename")()};
  log::debug("OpenBLAS runs its {} kernels", result.core);
  return result;
}

}  // namespace

const Blas& blas() {
  static const Blas loaded = load();
  return loaded;
}

}  // namespace collie::cpu
