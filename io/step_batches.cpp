#include "io/step_batches.hpp"

#include <algorithm>

#include "base/divide.hpp"
#include "base/error.hpp"

namespace collie {

namespace {

void check_sizes(const StepSizes& sizes) {
  COLLIE_ASSERT(sizes.micro_batch_size > 0 && sizes.gradient_accumulation_steps > 0 && sizes.dp_size > 0 &&
                    sizes.dp_rank >= 0 && sizes.dp_rank < sizes.dp_size,
                "micro-batches of {}, {} of them, replica {} of {}", sizes.micro_batch_size,
                sizes.gradient_accumulation_steps, sizes.dp_rank, sizes.dp_size);
}

// Takes sequences [first, last) of `epoch`, cut off at `end`.
MicroBatch make_micro_batch(const SequenceOrder& order, int64_t epoch, int64_t first, int64_t last,
                            int64_t end) {
  MicroBatch batch = empty_micro_batch();
  for (int64_t sequence = first; sequence < std::min(last, end); ++sequence)
    order.append_sequence(epoch, sequence, batch);
  return batch;
}

}  // namespace

int64_t steps_per_epoch(const SequenceOrder& order, const StepSizes& sizes) {
  check_sizes(sizes);
  return divide_up(order.sequences_per_epoch(), sizes.sequences());
}

int64_t position_before_step(const SequenceOrder& order, const StepSizes& sizes, const StepOrigin& origin,
                             int64_t step) {
  COLLIE_ASSERT(step > origin.steps && origin.steps >= 0 && origin.position >= 0, "step {} after {} at {}",
                step, origin.steps, origin.position);
  int64_t between = step - 1 - origin.steps, position = origin.position;
  // The origin may lie in the middle of an epoch, whose rest is seen first.
  for (int64_t epoch = order.epoch_of(position);; ++epoch) {
    const int64_t end = order.first_sequence(epoch + 1);
    const int64_t in_rest = divide_up(end - position, sizes.sequences());
    if (between < in_rest) return position + between * sizes.sequences();
    between -= in_rest;
    position = end;
    if (!order.is_even_from(epoch + 1)) continue;
    const int64_t sequences = order.sequences_in(epoch + 1);
    const int64_t per_epoch = divide_up(sequences, sizes.sequences());
    return position + between / per_epoch * sequences + between % per_epoch * sizes.sequences();
  }
}

int64_t last_step_of_epoch(const SequenceOrder& order, const StepSizes& sizes, const StepOrigin& origin,
                           int64_t epochs) {
  int64_t steps = origin.steps, position = origin.position;
  for (int64_t epoch = order.epoch_of(position); epoch < epochs; ++epoch) {
    const int64_t end = order.first_sequence(epoch + 1);
    steps += divide_up(end - position, sizes.sequences());
    position = end;
    if (order.is_even_from(epoch + 1))
      return steps + (epochs - epoch - 1) * divide_up(order.sequences_in(epoch + 1), sizes.sequences());
  }
  return steps;
}

EpochsDone epochs_done(const SequenceOrder& order, int64_t position) {
  const int64_t epoch = order.epoch_of(position);
  return {epoch, order.first_sequence(epoch) == position};
}

StepBatch make_step_batch(const SequenceOrder& order, const StepSizes& sizes, const StepOrigin& origin,
                          int64_t number) {
  check_sizes(sizes);
  const int64_t position = position_before_step(order, sizes, origin, number);
  const int64_t epoch = order.epoch_of(position);
  const int64_t first = position - order.first_sequence(epoch);
  const int64_t end = std::min(order.sequences_in(epoch), first + sizes.sequences());
  const int64_t across = sizes.micro_batch_size * sizes.dp_size;  // sequences per micro-batch of all replicas

  StepBatch step;
  step.epoch = epoch;
  step.step = number;
  step.position = position;
  step.next_position = position + end - first;
  for (int64_t sequence = first; sequence < end; ++sequence)
    step.global_target_tokens += order.sequence_targets(step.epoch, sequence);
  for (int64_t k = 0; k < divide_up(end - first, across); ++k) {
    const int64_t start = first + k * across + sizes.dp_rank * sizes.micro_batch_size;
    step.micro_batches.push_back(
        make_micro_batch(order, step.epoch, start, start + sizes.micro_batch_size, end));
  }
  return step;
}

std::vector<std::shared_ptr<const StepBatch>> deal(std::shared_ptr<const StepBatch> whole, int replicas) {
  if (replicas == 1) return {std::move(whole)};
  const StepBatch& batch = *whole;
  std::vector<std::shared_ptr<StepBatch>> shares;
  for (int replica = 0; replica < replicas; ++replica) {
    StepBatch share = batch;
    share.micro_batches.clear();
    shares.push_back(std::make_shared<StepBatch>(std::move(share)));
  }
  const auto across = static_cast<size_t>(replicas), count = batch.micro_batches.size();
  const auto dealt = static_cast<size_t>(round_up(static_cast<int64_t>(count), replicas));
  for (size_t i = 0; i < dealt; ++i)
    shares[i % across]->micro_batches.push_back(i < count ? batch.micro_batches[i] : empty_micro_batch());
  return {shares.begin(), shares.end()};
}

std::shared_ptr<const SequenceOrder> evaluation_order(std::shared_ptr<const Dataset> dataset,
                                                      int64_t sequence_length, Packing packing) {
  return std::make_shared<const SequenceOrder>(
      std::move(dataset), SequenceSettings{sequence_length, packing, false, 0, TooLong::cut});
}

int64_t evaluation_batch_count(const SequenceOrder& order, int64_t micro_batch_size) {
  COLLIE_ASSERT(micro_batch_size > 0, "micro-batches of {}", micro_batch_size);
  return divide_up(order.sequences_per_epoch(), micro_batch_size);
}

MicroBatch evaluation_batch(const SequenceOrder& order, int64_t micro_batch_size, int64_t index) {
  COLLIE_ASSERT(index >= 0 && index < evaluation_batch_count(order, micro_batch_size), "evaluation batch {}",
                index);
  const int64_t first = index * micro_batch_size;
  return make_micro_batch(order, 0, first, first + micro_batch_size, order.sequences_per_epoch());
}

std::vector<MicroBatch> evaluation_batches(std::shared_ptr<const Dataset> dataset, int64_t sequence_length,
                                           Packing packing, int64_t micro_batch_size) {
  const auto order = evaluation_order(std::move(dataset), sequence_length, packing);
  std::vector<MicroBatch> batches;
  for (int64_t i = 0; i < evaluation_batch_count(*order, micro_batch_size); ++i)
    batches.push_back(evaluation_batch(*order, micro_batch_size, i));
  return batches;
}

}  // namespace collie
