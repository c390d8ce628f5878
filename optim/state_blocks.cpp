#include "optim/state_blocks.hpp"

#include <algorithm>

#include "base/divide.hpp"
#include "base/error.hpp"
#include "kernels/dynamic_map.hpp"
#include "models/pieces.hpp"

namespace collie {

namespace {

// A range within one piece, in the tensor as the parameter stores it. A tensor that is no matrix is one row.
struct RangeInTensor {
  Piece piece;
  int64_t columns = 0;                  // of the tensor
  int64_t width = 0, first_column = 0;  // of the piece
  int64_t first_row = 0;                // of the piece, in the tensor
  int64_t in_piece = 0;                 // where the range begins in the flattened piece
  int64_t in_tensor = 0;                // where it begins in the flattened tensor

  bool is_matrix() const { return piece.tensor_shape.rank() == 2; }
  int64_t numel() const { return piece.tensor_shape.numel(); }
  bool has_whole_rows() const { return width == columns; }
  bool has_rows_of_blocks() const { return is_matrix() && columns % quantisation_block == 0; }
};

RangeInTensor locate(const Parameter& parameter, const OwnedRange& range) {
  RangeInTensor at;
  at.piece = piece_at(parameter, range.begin);
  const Piece& piece = at.piece;
  at.in_tensor = place_of(parameter, range.begin).second;
  if (!at.is_matrix()) {
    at.width = at.columns = at.numel();
    return at;
  }
  at.columns = piece.tensor_shape[piece.transposed ? 0 : 1];
  at.width = parameter.shape[1];
  at.first_column = piece.offsets[piece.transposed ? 0 : 1];
  at.first_row = piece.offsets[piece.transposed ? 1 : 0];
  at.in_piece = range.begin - piece.row * at.width;
  return at;
}

bool is_whole(int64_t elements) {
  return elements % quantisation_block == 0;
}

// What is wrong with the range; "" if it has whole blocks.
std::string complaint(const RangeInTensor& at, const OwnedRange& range) {
  if (!at.has_whole_rows()) {
    if (at.has_rows_of_blocks() && is_whole(at.width) && is_whole(at.first_column) && is_whole(at.in_piece) &&
        is_whole(range.numel))
      return "";
    return fmt::format("a rank would have {} of the {} elements of each row", at.width, at.columns);
  }
  const int64_t end = at.in_tensor + range.numel;
  if (is_whole(at.in_tensor) && (is_whole(end) || end == at.numel())) return "";
  return fmt::format("a rank would have elements {} to {} of its {}", at.in_tensor, end - 1, at.numel());
}

void check_range(const Parameter& parameter, const OwnedRange& range, const std::string& key) {
  const RangeInTensor at = locate(parameter, range);
  const std::string wrong = complaint(at, range);
  if (wrong.empty()) return;
  throw UserError(
      "{}: states of 8 bits have blocks of {} elements, and no rank can hold a part of one, but of '{}' {} "
      "{}; "
      "right would be a smaller parallel.tp_size or parallel.zero_stage 0, optimizer.min_8bit_size above {}, "
      "or one "
      "of optimizer.groups with adamw for it",
      key, quantisation_block, at.piece.tensor, at.piece.tensor_shape.to_string(), wrong, at.numel());
}

bool has_blocks(const Optimizer& optimizer, const NamedTensor& tensor) {
  const std::vector<StateDeclaration> states = optimizer.states(tensor);
  return std::any_of(states.begin(), states.end(),
                     [](const StateDeclaration& state) { return state.shape == StateShape::blocks; });
}

}  // namespace

Shape shape_of_blocks(const Shape& tensor, bool transposed) {
  if (tensor.rank() == 2) {
    const int64_t rows = tensor[transposed ? 1 : 0], columns = tensor[transposed ? 0 : 1];
    if (is_whole(columns)) return {rows, columns / quantisation_block};
  }
  return {divide_up(tensor.numel(), quantisation_block)};
}

int64_t held_numel(const StateDeclaration& state, int64_t numel) {
  return state.shape == StateShape::blocks ? divide_up(numel, quantisation_block) : numel;
}

StatePlace place_of_state(const StateDeclaration& state, const Parameter& parameter,
                          const OwnedRange& range) {
  if (state.shape != StateShape::blocks) return {parameter, range.begin};
  const RangeInTensor at = locate(parameter, range);
  COLLIE_ASSERT(complaint(at, range).empty(), "'{}': {}", parameter.name, complaint(at, range));
  const Shape whole = shape_of_blocks(at.piece.tensor_shape, at.piece.transposed);
  Parameter blocks{parameter.name, {}};
  Piece piece{at.piece.tensor, whole, 0, 0, {}, false};
  if (at.has_rows_of_blocks()) {
    blocks.shape = {at.piece.rows, at.width / quantisation_block};
    piece.offsets = {at.first_row, at.first_column / quantisation_block};
  } else {
    blocks.shape = {held_numel(state, range.numel)};
    piece.offsets = {at.in_tensor / quantisation_block};
  }
  piece.rows = blocks.shape[0];
  blocks.pieces = {piece};
  return {blocks, at.has_rows_of_blocks() ? at.in_piece / quantisation_block : 0};
}

void check_blocks(const std::vector<Parameter>& parameters, const StageRange& range,
                  const DataSharding& sharding, const ParameterGroups& optimizers, const std::string& key) {
  const BucketPlan plan(parameters, range, sharding);
  for (int rank = 0; rank < (sharding.stage() > 0 ? sharding.size : 1); ++rank)
    for (size_t bucket = 0; bucket < plan.buckets().size(); ++bucket)
      for (const OwnedRange& owned : owned_pieces(plan, parameters, static_cast<int>(bucket), rank)) {
        const Parameter& parameter = parameters[static_cast<size_t>(owned.id)];
        const Piece piece = piece_at(parameter, owned.begin);
        const NamedTensor tensor = named_tensor_of(parameter, piece);
        if (parameter.trainable && has_blocks(*optimizers.of(tensor.name, tensor.shape).optimizer, tensor))
          check_range(parameter, owned, key);
      }
}

}  // namespace collie
