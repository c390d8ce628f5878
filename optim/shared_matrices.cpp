#include "optim/shared_matrices.hpp"

#include <utility>

namespace collie {

MatrixPart part_of(const TensorRectangle& rectangle) {
  const Shape& shape = rectangle.shape;
  const bool is_vector = shape.rank() == 1, transposed = rectangle.piece.transposed;
  MatrixPart part{is_vector ? Shape{1, shape[0]} : shape, is_vector ? 0 : rectangle.offsets[0],
                  rectangle.offsets.back(), transposed};
  if (transposed) part.shape = {shape[1], shape[0]};
  return part;
}

SharedMatrices::SharedMatrices(std::vector<std::vector<Parameter>> of_ranks, int tensor_rank,
                               const StageRange& range, const DataSharding& sharding,
                               const ParameterGroups& optimizers, Operations& operations) {
  for (std::vector<Parameter>& of_rank : of_ranks) {
    BucketPlan plan(of_rank, range, sharding);
    layouts_.push_back({std::move(of_rank), std::move(plan)});
  }
  const auto& [parameters, plan] = layouts_.at(static_cast<size_t>(tensor_rank));
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
  if (matrices_.empty()) layouts_.clear();
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

std::vector<MatrixPart> SharedMatrices::parts_of(const Matrix& matrix, int data, int tensor) const {
  const Layout& layout = layouts_.at(static_cast<size_t>(tensor));
  std::vector<MatrixPart> parts;
  for (const OwnedRange& range : owned_pieces(layout.plan, layout.parameters, matrix.bucket, data)) {
    const Parameter& of = layout.parameters[static_cast<size_t>(range.id)];
    const Piece piece = piece_at(of, range.begin);
    if (!of.stands_for_row(piece.row) || piece.tensor != matrix.tensor.name) continue;
    for_each_rectangle(of, range.begin, range.begin + range.numel,
                       [&](const TensorRectangle& rectangle) { parts.push_back(part_of(rectangle)); });
  }
  return parts;
}

std::vector<MatrixShare> SharedMatrices::shares_of(size_t group,
                                                   const std::function<bool(int bucket)>& chosen) const {
  std::vector<MatrixShare> shares;
  for (const Matrix& matrix : matrices_)
    if (matrix.group == group && chosen(matrix.bucket))
      shares.push_back({matrix.tensor, {}, matrix.states, [this, &matrix](int data, int tensor) {
                          return parts_of(matrix, data, tensor);
                        }});
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
