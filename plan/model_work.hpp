// The amount of a model's computation, from its sizes alone.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "io/batch.hpp"
#include "models/model_config.hpp"
#include "models/stage_model.hpp"

namespace collie {

// Elements of the matrices that every token is multiplied with: those of one block, and of the head (tied or
// not). The embedding is a lookup and does not count.
int64_t matrix_elements_of_block(const ModelConfig& config);
int64_t matrix_elements_of_head(const ModelConfig& config);
int64_t matrix_elements(const ModelConfig& config);

// The sum over a micro-batch's queries of the keys that each sees: n (n + 1) / 2 for each document of n
// tokens.
int64_t visible_keys(const MicroBatch& batch);

// Floating-point operations of a training step. A multiplication and an addition count as two, and the
// backward counts as twice the forward (Kaplan et al., arXiv 2001.08361; Narayanan et al., arXiv 2104.04473,
// less recomputing). A matrix that is not trained has no product for its gradient, and below the lowest layer
// that is trained there is no backward; of that layer all is counted.
struct StepWork {
  double matrices = 0;   // 6 · matrix_elements · tokens, where all is trained
  double attention = 0;  // 12 · blocks · heads · head_dim · visible keys: scores, and sums of values
  double total() const { return matrices + attention; }
};
StepWork work_of_step(const ModelSpec& model, int64_t tokens, int64_t visible_keys);

// The same of batches, many times for one model. A model's virtual tokens count like any others, in each
// document. Each token counts as if it saw all tokens before it of its document, also where a window or a
// context that sees itself in both directions says otherwise.
class StepWorkCounter {
 public:
  explicit StepWorkCounter(const ModelSpec& model);
  // `batches`: of all replicas. Returns floating-point operations.
  double of(const std::vector<std::shared_ptr<const StepBatch>>& batches) const;

 private:
  double per_token_ = 0, per_visible_key_ = 0;
  int64_t virtual_tokens_ = 0, virtual_keys_ = 0;  // of a document; of each token's
};

}  // namespace collie
