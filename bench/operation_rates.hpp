// Measures how fast an operation table is at the shapes of a model, as shares of its device's peak. It takes
// any table, so nothing here knows of CUDA.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/operations.hpp"
#include "models/model_config.hpp"

namespace collie::bench {

// The least that an operation does: every input read once, every output written once. A multiplication and an
// addition count as two.
struct Work {
  double bytes = 0, flops = 0;
};

struct OperationCase {
  std::string name, shape;  // "rms_norm", "[8192, 1536]"
  Work work;
  bool by_flops = false;  // compared with the products' ceiling, not the copies'
  // Makes its own tensors and returns a function that calls the operation on them.
  std::function<std::function<void()>(Operations&)> make;
};

// C [m, n] of a product over k. Form tn accumulates, as a weight's gradient does.
OperationCase product_case(GemmForm form, int64_t m, int64_t n, int64_t k, DType dtype,
                           const std::string& name = "gemm");

// Every operation of a training step of the model on `tokens` tokens, in documents of `document` tokens.
// `table` decides the dtype and how many tokens' logits are taken at a time.
std::vector<OperationCase> operation_cases(const ModelConfig& model, const Operations& table, int64_t tokens,
                                           int64_t document);

struct Timing {
  // Tensors are used in turn until they have this many bytes, more than caches hold.
  int64_t rotating_bytes = int64_t{1} << 29;
  double seconds = 0.05;  // the least time of a measurement, after a warm-up as long
  int measurements = 5;   // their median counts
};

// Seconds per call. Calls are queued one after another and waited for together.
double seconds_of(const OperationCase& operation, Operations& operations, const Timing& timing);

// The device's own limits, measured with the same table: a copy of `copied_bytes`, and a product of square
// matrices with `edge` rows.
struct Ceilings {
  double bytes_per_second = 0, flops_per_second = 0;
};
Ceilings measure_ceilings(Operations& operations, const Timing& timing, int64_t copied_bytes, int64_t edge);

struct OperationRate {
  std::string name, shape;
  double seconds = 0, bytes_per_second = 0, flops_per_second = 0;
  double share = 0;  // of the ceiling that the case is compared with
};
OperationRate rate_of(const OperationCase& operation, Operations& operations, const Timing& timing,
                      const Ceilings& ceilings);

std::string to_text(const OperationRate& rate);
nlohmann::json to_json(const OperationRate& rate);

}  // namespace collie::bench
