#include "optim/shared_matrices.hpp"

#include <algorithm>

#include "models/pieces.hpp"

namespace collie {

SharedMatrices::SharedMatrices(const std::vector<Parameter>& parameters, const BucketPlan& plan,
                               const ParameterGroups& optimizers, Operations& operations) {
  for (ParameterId id = 0; id < static_cast<int>(parameters.size()); ++id) {
    const Parameter& parameter = parameters[static_cast<size_t>(id)];
    if (!parameter.trainable || parameter.tied_copy) continue;
    for (const NamedTensor& tensor : tensors_of({parameter})) {
      const size_t group = optimizers.index_of(tensor.name, tensor.shape);
      if (!optimizers.all()[group].optimizer->takes_matrices()) continue;
      matrices_.push_back({tensor, plan.bucket_of(id), group, {}, {}});
      add_states(matrices_.back(), *optimizers.all()[group].optimizer, operations);
    }
  }
}

void SharedMatrices::add_states(Matrix& matrix, const Optimizer& optimizer, Operations& operations) {
  for (const StateDeclaration& state : optimizer.states(matrix.tensor)) {
    if (state.shape == StateShape::elements) continue;
    matrix.declared.push_back(state);
    matrix.states.push_back(operations.empty(state_shape(state, matrix.tensor),
                                             operations.accumulation_dtype(), Category::optimizer));
  }
}

void SharedMatrices::load(Operations& operations) {
  for (Matrix& matrix : matrices_)
    for (size_t i = 0; i < matrix.states.size(); ++i)
      operations.fill(matrix.states[i], matrix.declared[i].initial);
}

void SharedMatrices::load(Operations& operations, const Checkpoint& checkpoint) {
  const auto account = std::make_shared<MemoryAccount>();
  for (Matrix& matrix : matrices_)
    for (size_t i = 0; i < matrix.states.size(); ++i) {
      Tensor& state = matrix.states[i];
      Tensor values = Tensor::host(state.shape(), state.dtype(), account, Category::workspace);
      checkpoint.read(matrix.tensor.name, matrix.declared[i].name, state.shape(), {0}, values);
      operations.from_host(values, state);
    }
}

std::vector<MatrixShare> SharedMatrices::shares_of(size_t group,
                                                   const std::function<bool(int bucket)>& chosen) const {
  std::vector<MatrixShare> shares;
  for (const Matrix& matrix : matrices_)
    if (matrix.group == group && chosen(matrix.bucket)) shares.push_back({matrix.tensor, {}, matrix.states});
  return shares;
}

std::vector<CheckpointSlice> SharedMatrices::snapshot(Operations& operations) const {
  std::vector<CheckpointSlice> slices;
  for (const Matrix& matrix : matrices_)
    for (size_t i = 0; i < matrix.states.size(); ++i)
      slices.push_back({matrix.tensor.name,
                        matrix.declared[i].name,
                        matrix.states[i].shape(),
                        {0},
                        operations.to_host(matrix.states[i], Category::workspace)});
  return slices;
}

}  // namespace collie
