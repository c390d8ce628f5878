// A stage's weights in buckets: whole on every rank of the data group, or (ZeRO-3) a part on each, gathered
// layer by layer ahead of their use. Quantised matrices are in none: each rank has its own whole.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "comm/collective_queue.hpp"
#include "kernels/operations.hpp"
#include "optim/bucket_plan.hpp"

namespace collie {

class BucketWeights final : public ParameterSource {
 public:
  // `plan`, `parameters` and `operations` outlive it. `queue`: of the data group; null where it has one rank.
  BucketWeights(const BucketPlan& plan, const std::vector<Parameter>& parameters,
                const DataSharding& sharding, Operations& operations, CollectiveQueue* queue);

  // Once, before the first use: fill(id, values) gives every parameter's values, of its shape, in
  // accumulation_dtype(); they are rounded where weights are not.
  void load(const std::function<void(ParameterId, Tensor&)>& fill);
  // The same of quantised matrices, which load() leaves out.
  void load_quantised(const std::function<void(ParameterId, QuantisedMatrix&)>& fill);

  const QuantisedMatrix& quantised(ParameterId id) const override;
  Tensor acquire(ParameterId id) override;
  void release(ParameterId) override {}
  void prefetch(int layer, int next) override;

  // This rank's part of a bucket, flat: what it updates. Its owner must have called wait() before it
  // writes.
  Tensor part(int bucket) const;
  // Whether the bucket has no storage of its own: it is a tied copy beside its owner.
  bool is_shared(int bucket) const { return storage_of(bucket) != bucket; }
  // Waits for what is on its way, and drops what was gathered: the weights are about to change.
  void wait();
  // The same of one bucket.
  void wait(int bucket);
  // The part has changed: the other ranks get it, and this one theirs, before the next acquire() (ZeRO-1,
  // -2).
  void publish(int bucket);

 private:
  struct Storage {
    Tensor own;                           // ZeRO-3: the part; else the whole bucket
    Tensor gathered;                      // ZeRO-3: the whole bucket while it is needed
    CollectiveQueue::Pending on_its_way;  // of `gathered`, or of the other ranks' parts of `own`
  };

  // A tied copy beside its owner has the owner's storage.
  int storage_of(int bucket) const { return shared_with_[static_cast<size_t>(bucket)]; }
  Storage& storage(int bucket) { return storages_[static_cast<size_t>(storage_of(bucket))]; }
  bool gathers() const { return sharding_.stage() == 3; }
  void load_whole(const Tensor& own, const BucketSlot& slot,
                  const std::function<void(ParameterId, Tensor&)>& fill);
  void load_part(const Tensor& own, const OwnedRange& range,
                 const std::function<void(ParameterId, Tensor&)>& fill);
  void gather(int bucket);
  void await(Storage& storage);
  std::vector<int> storages_of_layer(int layer) const;

  const BucketPlan& plan_;
  const std::vector<Parameter>& parameters_;
  DataSharding sharding_;
  Operations& operations_;
  CollectiveQueue* queue_;
  std::vector<int> shared_with_;   // [buckets]
  std::vector<Storage> storages_;  // [buckets]
  std::map<ParameterId, QuantisedMatrix> quantised_;
};

}  // namespace collie
