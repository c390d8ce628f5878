// How fast an operation table is at the shapes of a model, as shares of what its device does at most: any
// table, so that nothing here knows of CUDA.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/operations.hpp"
#include "models/model_config.hpp"

namespace collie::bench {

// What an operation does at least: every input read once, every output written once; a multiplication and an
// addition counted as two.
struct Work {
  double bytes = 0, flops = 0;
};

struct OperationCase {
  std::string name, shape;  // "rms_norm", "[8192, 1536]"
  Work work;
  bool by_flops = false;  // held against the products' ceiling, not the copies'
  // Makes tensors of its own and returns what calls the operation on them.
  std::function<std::function<void()>(Operations&)> make;
};

// C [m, n] of a product over k; form tn accumulates, as a weight's gradient does.
OperationCase product_case(GemmForm form, int64_t m, int64_t n, int64_t k, DType dtype,
                           const std::string& name = "gemm");

// Every operation of a training step of the model on `tokens` tokens, in documents of `document` tokens, as
// `table` has them (its dtype, how many tokens' logits it takes at a time).
std::vector<OperationCase> operation_cases(const ModelConfig& model, const Operations& table, int64_t tokens,
                                           int64_t document);

struct Timing {
  int64_t rotating_bytes = int64_t{1}
                           << 29;  // tensors are taken in turns until they are so many: more than caches hold
  double seconds = 0.05;           // a measurement lasts at least, after as long to warm up
  int measurements = 5;            // whose median counts
};

// Seconds a call: calls are queued one after another and waited for together.
double seconds_of(const OperationCase& operation, Operations& operations, const Timing& timing);

// The device's own limits, by the same table: a copy of `copied_bytes`, and a product of square matrices of
// `edge` rows.
struct Ceilings {
  double bytes_per_second = 0, flops_per_second = 0;
};
Ceilings measure_ceilings(Operations& operations, const Timing& timing, int64_t copied_bytes, int64_t edge);

struct OperationRate {
  std::string name, shape;
  double seconds = 0, bytes_per_second = 0, flops_per_second = 0;
  double share = 0;  // of the ceiling that the case is held against
};
OperationRate rate_of(const OperationCase& operation, Operations& operations, const Timing& timing,
                      const Ceilings& ceilings);

std::string to_text(const OperationRate& rate);
nlohmann::json to_json(const OperationRate& rate);

}  // namespace collie::bench
