// Activation functions: those of MLPs, and of gates.
#pragma once

#include <cstdint>

namespace collie {

enum class Activation : uint8_t {
  silu,       // x · sigmoid(x) (Elfwing et al., arXiv 1702.03118)
  gelu,       // x · Φ(x), Φ(x) = (1 + erf(x / √2)) / 2 (Hendrycks & Gimpel, arXiv 1606.08415)
  gelu_tanh,  // Φ(x) ≈ (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2: "gelu_new", "gelu_pytorch_tanh"
  relu,       // max(x, 0); its derivative at 0 is 0
  sigmoid,    // 1 / (1 + e^-x)
  tanh,
};

}  // namespace collie
