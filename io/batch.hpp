// Loaders give these to stages: packed tokens, with no padding anywhere.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace collie {

// One micro-batch of one replica: its sequences' documents, one after another. It has T tokens and S
// documents.
struct MicroBatch {
  std::vector<int32_t> tokens;           // [T] inputs
  std::vector<int32_t> labels;           // [T] targets; -100 = not a target
  std::vector<int32_t> positions;        // [T] from 0 in every document (piece)
  std::vector<int32_t> document_starts;  // [S + 1], from 0 to T
  // [S] the number of each document's token of position 0 among all tokens that the run reads, whatever the
  // layout: what a token's dropout mask is drawn from. Empty in batches that nobody trains on.
  std::vector<int64_t> first_tokens = {};
  int64_t target_tokens = 0;  // labels that are targets
  // How many of each document's tokens are virtual ones, of a model that has some (models/soft_prompt.hpp).
  // Loaders know none.
  int64_t virtual_tokens = 0;
};

// A replica computes this if there is no micro-batch left for it: no tokens and no documents.
inline MicroBatch empty_micro_batch() {
  MicroBatch batch;
  batch.document_starts = {0};
  return batch;
}

// Everything one data-parallel replica computes in one optimizer step.
struct StepBatch {
  int64_t step = 0;                       // from 1
  int64_t position = 0;                   // sequences consumed before this step, over all epochs and replicas
  int64_t next_position = 0;              // the same, after this step
  int64_t epoch = 0;                      // from 0
  int64_t global_target_tokens = 0;       // of the whole global batch, all replicas: divides the loss
  std::vector<MicroBatch> micro_batches;  // in the order in which gradients accumulate
};

}  // namespace collie
