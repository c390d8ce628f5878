#include "optim/shared_matrices.hpp"

#include <algorithm>

#include "models/pieces.hpp"

namespace collie {

namespace {

// Whether the parameters store a tensor transposed: all of its pieces, or none.
bool transposed(const std::string& tensor, const std::vector<Parameter>& parameters) {
  for (const Parameter& parameter : parameters)
    for (const Piece& piece : pieces_of(parameter))
      if (piece.tensor == tensor) return piece.transposed;
  return false;
}

}  // namespace

SharedMatrices::SharedMatrices(const std::vector<Parameter>& parameters, const ParameterGroups& optimizers,
                               Operations& operations) {
  std::vector<Parameter> trained;
  std::copy_if(parameters.begin(), parameters.end(), std::back_inserter(trained),
               [](const Parameter& parameter) { return parameter.trainable && !parameter.tied_copy; });
  for (const NamedTensor& tensor : tensors_of(trained)) {
    const size_t group = optimizers.index_of(tensor.name, tensor.shape);
    const Optimizer& optimizer = *optimizers.all()[group].optimizer;
    if (!optimizer.takes_matrices()) continue;
    Matrix& matrix = matrices_.emplace_back(Matrix{tensor, transposed(tensor.name, trained), group, {}, {}});
    for (const StateDeclaration& state : optimizer.states(tensor)) {
      if (state.shape == StateShape::elements) continue;
      matrix.declared.push_back(state);
      matrix.states.push_back(operations.empty(state_shape(state, tensor.shape),
                                               operations.accumulation_dtype(), Category::optimizer));
    }
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

std::vector<MatrixShare> SharedMatrices::shares_of(size_t group) const {
  std::vector<MatrixShare> shares;
  for (const Matrix& matrix : matrices_)
    if (matrix.group == group) shares.push_back({matrix.tensor, {}, matrix.states, matrix.transposed});
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
