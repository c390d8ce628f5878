// The gradient sink of a data group: gradients are collected in buckets, and a bucket is reduced in the
// background as soon as it is complete, while backward goes on.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "comm/collective_queue.hpp"
#include "kernels/operations.hpp"
#include "optim/bucket_plan.hpp"

namespace collie {

// Over which ranks a parameter's gradient_shares are summed; null where that is this rank alone.
struct GradientGroups {
  ProcessGroup* tensor = nullptr;
  ProcessGroup* key_value = nullptr;
};

// What becomes of complete buckets while backward goes on (a fused update: Lv et al., arXiv 2306.09782).
struct FusedUse {
  // Gets each bucket's number when its gradient is complete and reduced; part() is valid in the call alone.
  std::function<void(int bucket)> use;
  std::vector<bool> later;  // [buckets]: those whose gradients stay until release() instead
};

// Stage 0: every micro-batch is added to one whole gradient, which is all-reduced after the last one. Stage
// 1: the same, but reduce-scattered. Stages 2 and 3: every micro-batch's gradient is reduce-scattered, so
// that only the rank's part is kept; parts add up in micro-batch order. Sums over ranks are taken in rank
// order, so stages 0 and 1 give the same bits, and so do 2 and 3.
class BucketGradients final : public GradientSink {
 public:
  // `plan`, `parameters` and `operations` outlive it. `dtype`: of the gradients. `queue`: of the data group;
  // null where it has one rank. `kept`: the gradients have memory all the time, and not only from a step's
  // first contribution until release().
  BucketGradients(const BucketPlan& plan, const std::vector<Parameter>& parameters,
                  const DataSharding& sharding, Operations& operations, DType dtype, bool kept,
                  CollectiveQueue* queue, const GradientGroups& groups);

  // The gradients of a step of so many micro-batches follow. If they are `used` as they get complete, at most
  // one bucket beside the one that is complete has a gradient, but for those that come later, and for earlier
  // micro-batches.
  void start_step(int micro_batches, FusedUse used = {});
  GradientTarget open(ParameterId id) override;
  void close(ParameterId id) override;
  // Waits until everything is reduced. Every parameter must have had its contributions.
  void finish();

  // What this rank owns of a bucket's gradient, flat; complete after finish(). Undefined after release().
  Tensor part(int bucket) const;
  // The step is over: gradients that are not kept are freed.
  void release();

 private:
  struct State {
    Tensor whole;     // stages 0, 1: kept; else from a micro-batch's first contribution until it is submitted
    Tensor part;      // stages 2, 3: the sum so far
    Tensor arriving;  // stages 2, 3: a micro-batch's reduced part
    CollectiveQueue::Pending reduction;
    bool reducing = false;
    int contributions = 0;  // of all its parameters
    int added = 0;          // stages 2, 3: micro-batches in `part`
  };

  bool scatters_each() const { return sharding_.stage() >= 2; }
  State& state_of(ParameterId id) { return states_[static_cast<size_t>(plan_.bucket_of(id))]; }
  void allocate(int bucket);
  void start_micro_batch(int bucket);
  void use_complete();
  void sum_shares(int bucket);
  void reduce(int bucket);
  void collect(State& state);

  const BucketPlan& plan_;
  const std::vector<Parameter>& parameters_;
  DataSharding sharding_;
  Operations& operations_;
  DType dtype_;
  bool kept_;
  CollectiveQueue* queue_;
  GradientGroups groups_;
  std::vector<State> states_;  // [buckets]
  // Stages 2, 3: the reduction that was submitted last, and the one before.
  CollectiveQueue::Pending latest_, before_;
  std::vector<int> contributions_;  // by ParameterId
  int micro_batches_ = 0;
  FusedUse used_;
  std::optional<int> complete_;  // a bucket that is complete, perhaps on its way, and not used yet
};

}  // namespace collie
