// The tensors of a stage whose optimizers take whole matrices: what a rank has of each, and their states of
// whole rows and columns, which every rank of the stage holds.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "io/checkpoint.hpp"
#include "models/pieces.hpp"
#include "models/stage_range.hpp"
#include "optim/bucket_plan.hpp"
#include "optim/parameter_groups.hpp"

namespace collie {

class SharedMatrices {
 public:
  struct Matrix {
    NamedTensor tensor;
    int bucket = 0;
    size_t group = 0;                        // of the optimizers'
    std::vector<StateDeclaration> declared;  // of rows and columns
    std::vector<Tensor> states;              // in their order
  };

  // All trained tensors of the parameters whose group's optimizer takes matrices. `parameters`: of the stage
  // on each rank of the tensor group, of which this rank is `tensor_rank`.
  SharedMatrices(std::vector<std::vector<Parameter>> parameters, int tensor_rank, const StageRange& range,
                 const DataSharding& sharding, const ParameterGroups& optimizers, Operations& operations);
  SharedMatrices(const SharedMatrices&) = delete;
  SharedMatrices& operator=(const SharedMatrices&) = delete;

  // The states as they begin, or from a checkpoint.
  void load(Operations& operations);
  void load(Operations& operations, const Checkpoint& checkpoint);
  // The shares of those of a group's tensors that are in chosen buckets, without ranges. They refer to this.
  std::vector<MatrixShare> shares_of(size_t group, const std::function<bool(int bucket)>& chosen) const;
  // The states, copied to the host.
  std::vector<CheckpointSlice> snapshot(Operations& operations) const;

 private:
  // Of one rank of the tensor group.
  struct Layout {
    std::vector<Parameter> parameters;
    BucketPlan plan;
  };

  std::vector<MatrixPart> parts_of(const Matrix& matrix, int data, int tensor) const;
  static void add_states(Matrix& matrix, const Optimizer& optimizer, Operations& operations);

  std::vector<Layout> layouts_;  // [tensor ranks]
  std::vector<Matrix> matrices_;
};

// Where a rectangle of a matrix, or of a vector, stands.
MatrixPart part_of(const TensorRectangle& rectangle);

}  // namespace collie
