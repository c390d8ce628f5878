// Distributes the sequences of an epoch to optimizer steps, micro-batches and data-parallel replicas.
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
  }  // sequences in a full step
};

// The number of steps of an epoch (order.first_epoch()); the last step may be short. A step never crosses an
// epoch.
int64_t steps_per_epoch(const SequenceOrder& order, const StepSizes& sizes);

// The point from which on every step has the same sizes: the start of the run, or a checkpoint from which a
// run goes on, perhaps with other sizes.
struct StepOrigin {
  int64_t steps = 0;     // steps done before
  int64_t position = 0;  // sequences that those steps consumed, over all epochs and replicas
};

// The position before step `step`, which must come after the origin's steps.
int64_t position_before_step(const SequenceOrder& order, const StepSizes& sizes, const StepOrigin& origin,
                             int64_t step);
// The step that ends epoch `epochs` (from 1), or the origin's last step if that lies beyond.
int64_t last_step_of_epoch(const SequenceOrder& order, const StepSizes& sizes, const StepOrigin& origin,
                           int64_t epochs);

// How many epochs a run has finished when it has consumed `position` sequences, and whether one has just
// ended.
struct EpochsDone {
  int64_t epochs = 0;
  bool just_ended = false;
};
EpochsDone epochs_done(const SequenceOrder& order, int64_t position);

// The batch that replica sizes.dp_rank computes in step `step`. Sequence g of the step (from 0) belongs to
// micro-batch g / (dp_size * micro_batch_size), and within it to replica (g / micro_batch_size) % dp_size. So
// the global batch does not depend on the layout, nor does each global micro-batch if micro_batch_size *
// dp_size is the same. In an epoch's short last step all replicas have the same number of micro-batches, some
// of which may have fewer sequences or none (no tokens, document_starts {0}). `global_target_tokens` is the
// same on all replicas. It is 0 if every target of the step is masked; then there is nothing to divide by.
StepBatch make_step_batch(const SequenceOrder& order, const StepSizes& sizes, const StepOrigin& origin,
                          int64_t step);

// Distributes the micro-batches of `whole` to the replicas in turn. A replica that gets one less has an empty
// one in its place. [replicas]
std::vector<std::shared_ptr<const StepBatch>> deal(std::shared_ptr<const StepBatch> whole, int replicas);

// For evaluation: all target tokens of `dataset` once, in natural order, without shuffling. Documents that
// are too long are cut, whatever training does with them.
std::shared_ptr<const SequenceOrder> evaluation_order(std::shared_ptr<const Dataset> dataset,
                                                      int64_t sequence_length, Packing packing);
int64_t evaluation_batch_count(const SequenceOrder& order, int64_t micro_batch_size);
// Batch `index` (from 0) has sequences [index * micro_batch_size, ...) of epoch 0; the last batch may have
// fewer.
MicroBatch evaluation_batch(const SequenceOrder& order, int64_t micro_batch_size, int64_t index);
// All batches at once, for small data.
std::vector<MicroBatch> evaluation_batches(std::shared_ptr<const Dataset> dataset, int64_t sequence_length,
                                           Packing packing, int64_t micro_batch_size);

}  // namespace collie
