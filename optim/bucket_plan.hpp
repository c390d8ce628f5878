// How a stage's parameters are laid out for the ranks that share its data: in buckets, flat, so that
// gradients are reduced, optimizer states sharded and weights gathered a bucket at a time (ZeRO: Rajbhandari
// et al., arXiv 1910.02054).
#pragma once

#include <cstdint>
#include <vector>

#include "models/parameter.hpp"
#include "models/stage_range.hpp"

namespace collie {

// How the ranks of a data group share the state of training.
struct DataSharding {
  int rank = 0, size = 1;  // of the data group
  int zero_stage = 0;      // 0: nothing is sharded; 1: optimizer states; 2: gradients, too; 3: weights, too
  int64_t bucket_elements = int64_t{4} << 20;  // blocks are put together until a bucket has that many

  // A group of one shares nothing.
  int stage() const { return size > 1 ? zero_stage : 0; }
};

// A parameter's place in its bucket, in elements.
struct BucketSlot {
  ParameterId id = 0;
  int64_t offset = 0, numel = 0;
};

// The elements of one parameter that fall to one rank.
struct OwnedRange {
  ParameterId id = 0;
  int64_t begin = 0, numel = 0;  // of the flattened parameter
  int64_t at = 0;                // in the rank's part of the bucket
};

struct Bucket {
  std::vector<BucketSlot> slots;
  int64_t numel = 0;                    // of all ranks' parts, padding included
  int64_t part = 0;                     // numel / ranks where something is sharded, else numel
  int first_layer = 0, last_layer = 0;  // layers of the stage
  bool trainable = true;                // whether its parameters are; a bucket has one kind
  // Whether each rank of the data group has a part of its own.
  bool sharded() const { return part != numel; }
};

class BucketPlan {
 public:
  // The embedding's and the head's parameters have buckets of their own; blocks come whole, but for those
  // that are frozen, which have other buckets: zero_stage 3 alone shards these. Where something is sharded
  // every parameter starts at a multiple of reduction_block, or, if it is that small, behind another before
  // the next multiple, so that no block of a norm is cut; with zero_stage 3 a bucket is one layer. What is
  // quantised has no bucket.
  BucketPlan(const std::vector<Parameter>& parameters, const StageRange& range, const DataSharding& sharding);

  const std::vector<Bucket>& buckets() const { return buckets_; }
  // -1: none.
  int bucket_of(ParameterId id) const { return places_.at(static_cast<size_t>(id)).bucket; }
  const BucketSlot& slot_of(ParameterId id) const;
  std::vector<int> buckets_of_layer(int layer) const;

  // What rank `rank` of the data group updates of a bucket, in the order of its slots.
  std::vector<OwnedRange> owned(int bucket, int rank) const;

 private:
  struct Place {
    int bucket = 0, slot = 0;
  };
  std::vector<Bucket> buckets_;
  std::vector<Place> places_;  // by ParameterId
};

// The same without tied copies, which are updated where their owners are, each range within one piece.
std::vector<OwnedRange> owned_pieces(const BucketPlan& plan, const std::vector<Parameter>& parameters,
                                     int bucket, int rank);

}  // namespace collie
