// Low-rank adapters of the model's matrices (LoRA: Hu et al., arXiv 2106.09685): W x becomes
// W x + scale B (A x), with A [rank, in] and B [out, rank].
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace collie {

// How A begins; B begins as zeros, but for `random`.
enum class AdapterStart : uint8_t {
  uniform,   // A as a linear layer of PyTorch: uniform within 1 / √in
  gaussian,  // A normal, of deviation 1 / rank
  random,    // both uniform, A within 1 / √in and B within 1 / √rank: for tests
};

struct LowRankAdapter {
  std::string name;  // of one of several; empty: the only one
  int64_t rank = 0;
  double scale = 1;    // of B (A x)
  double dropout = 0;  // the rate, of x before A, in training
  AdapterStart start = AdapterStart::uniform;
};

// Those of each matrix, which is named without ".weight".
using Adapters = std::map<std::string, std::vector<LowRankAdapter>>;

// The names of the tensors of an adapter of `matrix`: "MATRIX.lora_A.weight", or "MATRIX.lora_A.NAME.weight".
std::string name_of_a(const std::string& matrix, const LowRankAdapter& adapter);
std::string name_of_b(const std::string& matrix, const LowRankAdapter& adapter);

}  // namespace collie
