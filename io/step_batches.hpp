// The sequences of an epoch dealt out to optimizer steps, micro-batches and data-parallel replicas.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "io/batch.hpp"
#include "io/sequence_order.hpp"

namespace collie {

struct StepSizes {
  int64_t micro_batch_size = 1, gradient_accumulation_steps = 1;
  int64_t dp_size = 1, dp_rank = 0;

  int64_t sequences() const {
    return micro_batch_size * gradient_accumulation_steps * dp_size;
  }  // in a full step
};

// Steps of an epoch; the last may be short. A step never crosses an epoch.
int64_t steps_per_epoch(const SequenceOrder& order, const StepSizes& sizes);

// From where on every step has the same sizes: the start of the run, or a checkpoint that a run goes on from,
// perhaps with other sizes.
struct StepOrigin {
  int64_t steps = 0;     // done before
  int64_t position = 0;  // sequences that they consumed, over all epochs and replicas
};

// The position before step `step`, which comes after the origin's.
int64_t position_before_step(const SequenceOrder& order, const StepSizes& sizes, const StepOrigin& origin,
                             int64_t step);
// The step that ends epoch `epochs` (from 1); the origin's last one where that lies beyond.
int64_t last_step_of_epoch(const SequenceOrder& order, const StepSizes& sizes, const StepOrigin& origin,
                           int64_t epochs);

// What replica sizes.dp_rank computes in step `step`. Sequence g of the step (from 0)
// belongs to micro-batch g / (dp_size * micro_batch_size), and there to replica (g / micro_batch_size) %
// dp_size: so the global batch, and each global micro-batch where micro_batch_size * dp_size is the same, do
// not depend on the layout. In an epoch's short last step all replicas have the same number of micro-batches,
// some of which may have fewer sequences or none (no tokens, document_starts {0}). `global_target_tokens` is
// the same on all replicas; it is 0 when every target of the step is masked, and then there is nothing to
// divide by.
StepBatch make_step_batch(const SequenceOrder& order, const StepSizes& sizes, const StepOrigin& origin,
                          int64_t step);

// The micro-batches of `whole` dealt out to replicas in turn; one that gets one less has an empty one in its
// place. [replicas]
std::vector<std::shared_ptr<const StepBatch>> deal(std::shared_ptr<const StepBatch> whole, int replicas);

// Evaluation: all target tokens of `dataset` once, in natural order, without shuffling.
std::shared_ptr<const SequenceOrder> evaluation_order(std::shared_ptr<const Dataset> dataset,
                                                      int64_t sequence_length, bool packing);
int64_t evaluation_batch_count(const SequenceOrder& order, int64_t micro_batch_size);
// Batch `index` (from 0): sequences [index * micro_batch_size, ...) of epoch 0; the last may have fewer.
MicroBatch evaluation_batch(const SequenceOrder& order, int64_t micro_batch_size, int64_t index);
// All of them at once, for small data.
std::vector<MicroBatch> evaluation_batches(std::shared_ptr<const Dataset> dataset, int64_t sequence_length,
                                           bool packing, int64_t micro_batch_size);

}  // namespace collie
