#include "bench/gpu_peaks.hpp"

namespace collie::bench {

std::optional<double> peak_tflops(const std::string& gpu, DType dtype) {
  struct Peak {
    const char* name;
    double bfloat16, float32;
  };
  constexpr Peak known[] = {{"NVIDIA H200", 989, 67},
                            {"NVIDIA H100 80GB HBM3", 989, 67},
                            {"NVIDIA A100-SXM4-80GB", 312, 19.5},
                            {"NVIDIA A100-SXM4-40GB", 312, 19.5}};
  for (const Peak& peak : known)
    if (gpu == peak.name) return dtype == DType::bf16 ? peak.bfloat16 : peak.float32;
  return std::nullopt;
}

}  // namespace collie::bench
