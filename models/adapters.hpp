// Adapters of the model's matrices.
//
// Low-rank ones (LoRA: Hu et al., arXiv 2106.09685) make W x + scale B (A x) of W x, with A [rank, in] and B
// [out, rank]. With a magnitude m [out] (DoRA: Liu et al., arXiv 2402.09353) each row of W + scale B A is
// scaled to the length m; its own length counts as a constant in backward. With values E [rank, 1] (AdaLoRA:
// Zhang et al., arXiv 2303.10512) it is scale B diag(E) A: a sum of as many triplets, which is to be like a
// singular value decomposition.
//
// A vector (IA³: Liu et al., arXiv 2205.05638) multiplies what a matrix gives, its bias included, or what it
// reads.
//
// A bottleneck adds scale · up(activation(down(u))) to what a branch of a block gives, the MLP or attention.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/activation.hpp"

namespace collie {

// How A begins; B begins as zeros, but for the last three.
enum class AdapterStart : uint8_t {
  uniform,   // A as a linear layer of PyTorch: uniform within 1 / √in
  gaussian,  // A normal, of deviation 1 / rank
  random,    // both uniform, A within 1 / √in and B within 1 / √rank: for tests
  // These two take what they begin with out of the matrix, which is W - scale B A from then on:
  principal,   // its largest singular values (PiSSA: Meng et al., arXiv 2404.02948)
  orthogonal,  // the first columns of its QR factors (OLoRA: Büyükakyüz, arXiv 2406.01775)
};

struct LowRankAdapter {
  std::string name;  // of one of several; empty: the only one
  int64_t rank = 0;
  double scale = 1;    // of B (A x)
  double dropout = 0;  // the rate, of x before A, in training
  AdapterStart start = AdapterStart::uniform;
  bool has_magnitude = false;  // it has no name then
  // It is one of triplets, and has no name then. A rank of 0 is one that has lost all of them, and adds
  // nothing.
  bool has_values = false;
  bool is_allocated = false;  // which of the triplets are kept is decided while they are trained
  // Of triplets: the loss has this times |A Aᵀ - I| + |Bᵀ B - I| (Frobenius norms) added to it, once a step.
  double orthogonality = 0;
};

// Those of each matrix, which is named without ".weight".
using Adapters = std::map<std::string, std::vector<LowRankAdapter>>;

struct VectorAdapter {
  bool of_input = false;  // [1, in]; else of what the matrix gives: [out, 1]
};

// That of each matrix that has one.
using VectorAdapters = std::map<std::string, VectorAdapter>;

struct BottleneckAdapter {
  enum class Reads : uint8_t {
    given,  // what the branch gives (Houlsby et al., arXiv 1902.00751)
    sum,    // the residual stream after the branch (Pfeiffer et al., arXiv 2005.00247)
    input,  // the residual stream before the branch (He et al., arXiv 2110.04366)
  };

  int64_t size = 0;  // of down's output
  Activation activation = Activation::relu;
  double scale = 1;
  Reads reads = Reads::sum;
  bool after_attention = false;  // too; else after the MLP alone
  // up begins as zeros and down as a linear layer of PyTorch; else both are normal, of deviation 0.02.
  bool starts_as_nothing = false;
};

// In checkpoints a state of E where triplets are allocated: 1 for those that are kept, else 0; 1 for all
// before any was lost.
inline constexpr const char* rank_mask_state = "rank_mask";

// The names of the tensors of an adapter of `matrix`: "MATRIX.lora_A.weight", or "MATRIX.lora_A.NAME.weight",
// "MATRIX.lora_magnitude_vector" and "MATRIX.ia3_l"; of triplets "MATRIX.lora_A", "lora_B" and "lora_E".
std::string name_of_a(const std::string& matrix, const LowRankAdapter& adapter);
std::string name_of_b(const std::string& matrix, const LowRankAdapter& adapter);
std::string name_of_magnitude(const std::string& matrix);
std::string name_of_values(const std::string& matrix);
std::string name_of_vector(const std::string& matrix);

}  // namespace collie
