// A stand-in for NVIDIA's driver (libcuda.so.1), with which cuDNN makes plans for a device that is not there:
// it "loads" what was compiled and answers what the planning asks. Nothing can be run with it.
#include <cstddef>

namespace {

constexpr int success = 0, no_device = 100, not_found = 500;

// Handles that are only passed on.
void* handle() {
  static char object;
  return &object;
}

}  // namespace

#define DOES_NOTHING(name) \
  int name() {             \
    return success;        \
  }
#define GIVES_A_HANDLE(name) \
  int name(void** made) {    \
    *made = handle();        \
    return success;          \
  }
#define GIVES_A_NUMBER(name, number) \
  int name(int* value) {             \
    *value = number;                 \
    return success;                  \
  }
#define GIVES_A_TEXT(name)           \
  int name(int, const char** text) { \
    *text = "the stand-in driver";   \
    return success;                  \
  }

extern "C" {

int cuInit(unsigned) {
  return no_device;
}
int cuGetProcAddress_v2() {
  return not_found;
}  // the run time's way, which is to find no device
GIVES_A_NUMBER(cuDriverGetVersion, 13000)
GIVES_A_NUMBER(cuDeviceGetCount, 0)
GIVES_A_NUMBER(cuOccupancyMaxActiveClusters, 66)  // of two blocks on 132 multiprocessors
GIVES_A_NUMBER(cuOccupancyMaxPotentialClusterSize, 8)
GIVES_A_NUMBER(cuOccupancyMaxActiveBlocksPerMultiprocessor, 1)
GIVES_A_NUMBER(cuKernelGetAttribute, 0)
GIVES_A_NUMBER(cuFuncGetAttribute, 0)
GIVES_A_NUMBER(cuDeviceGetAttribute, 0)
GIVES_A_HANDLE(cuLibraryLoadData)
GIVES_A_HANDLE(cuLibraryLoadFromFile)
GIVES_A_HANDLE(cuLibraryGetKernel)
GIVES_A_HANDLE(cuKernelGetFunction)
GIVES_A_HANDLE(cuModuleLoadData)
GIVES_A_HANDLE(cuModuleLoadDataEx)
GIVES_A_HANDLE(cuModuleLoadFatBinary)
GIVES_A_HANDLE(cuModuleGetFunction)
GIVES_A_TEXT(cuGetErrorString)
GIVES_A_TEXT(cuGetErrorName)
DOES_NOTHING(cuLaunchKernel)
DOES_NOTHING(cuLaunchCooperativeKernel)
DOES_NOTHING(cuLaunchKernelEx)
DOES_NOTHING(cuLinkCreate)
DOES_NOTHING(cuLinkCreate_v2)
DOES_NOTHING(cuLinkAddData)
DOES_NOTHING(cuLinkAddData_v2)
DOES_NOTHING(cuLinkAddFile_v2)
DOES_NOTHING(cuLinkComplete)
DOES_NOTHING(cuLinkDestroy)
DOES_NOTHING(cuDeviceGet)
DOES_NOTHING(cuCtxPushCurrent)
DOES_NOTHING(cuCtxPopCurrent)
DOES_NOTHING(cuCtxGetLimit)
DOES_NOTHING(cuCtxGetCurrent)
DOES_NOTHING(cuCtxGetDevice)
DOES_NOTHING(cuStreamGetCtx)
DOES_NOTHING(cuStreamSynchronize)
DOES_NOTHING(cuLibraryUnload)
DOES_NOTHING(cuKernelSetAttribute)
DOES_NOTHING(cuFuncSetAttribute)
DOES_NOTHING(cuTensorMapEncodeTiled)
DOES_NOTHING(cuModuleUnload)
DOES_NOTHING(cuModuleGetGlobal_v2)
DOES_NOTHING(cuMemcpyDtoH_v2)
DOES_NOTHING(cuDevicePrimaryCtxRetain)
DOES_NOTHING(cuDevicePrimaryCtxReset)
DOES_NOTHING(cuDevicePrimaryCtxRelease)
}
