#include "runtime/gpu_peaks.hpp"

namespace collie {

std::optional<double> peak_tflops(const std::string& gpu, DType dtype) {
  struct Peak {
    const char* name;
    double bfloat16, float32;
  };
  constexpr Peak known[] = {{"NVIDIA H200", 989, 67},
                            {"NVIDIA H100 80GB HBM3", 989, 67},
                            {"NVIDIA H100 PCIe", 756, 51},
                            {"NVIDIA A100-SXM4-80GB", 312, 19.5},
                            {"NVIDIA A100-SXM4-40GB", 312, 19.5},
                            {"NVIDIA A100 80GB PCIe", 312, 19.5},
                            {"NVIDIA A100-PCIE-40GB", 312, 19.5},
                            {"NVIDIA L40S", 362, 91.6},
                            {"NVIDIA L4", 121, 30.3},
                            {"NVIDIA A40", 149.7, 37.4},
                            {"NVIDIA A10", 125, 31.2},
                            {"NVIDIA GeForce RTX 4090", 165.2, 82.6},
                            {"NVIDIA GeForce RTX 3090", 71, 35.6}};
  for (const Peak& peak : known)
    if (gpu == peak.name) return dtype == DType::bf16 ? peak.bfloat16 : peak.float32;
  return std::nullopt;
}

}  // namespace collie
